"""Rows of the route table about duties, incidents and reciprocity."""

from node.api import duties
from node.api.exchange import reciprocity
from node.api.openapi import CURSOR, LIMIT, MEMBER, Parameter, Route, json_of
from node.api.schemas import duties as duty_bodies
from node.api.schemas import reciprocity as bodies

_YEAR = Parameter(name="year", place="query", zh="公历年份（UTC）。", en="Calendar year (UTC).")

ROUTES = (
    Route(
        method="GET",
        path="/v1/tasks",
        handler=duties.list_tasks,
        name="listTasks",
        zh="待办事项：谁应在何时之前完成什么，按期限排列。",
        en="Tasks: who owes what by when, by due time.",
        parameters=(
            MEMBER,
            Parameter(
                name="overdue",
                place="query",
                zh="true：只看逾期；false：只看未逾期。",
                en="true: overdue ones only; false: the others only.",
            ),
            Parameter(
                name="at",
                place="query",
                zh="预看：假定此后没有新记录，届时何者逾期；可写 `2026-12-01`、带时区的时刻或"
                " `+30 days`。",
                en="Look ahead: overdue by then, should nothing be recorded; `2026-12-01`, a time"
                " with its zone, or `+30 days`.",
            ),
            CURSOR,
            LIMIT,
        ),
        answers={200: json_of(duty_bodies.TaskPage)},
        problems=(400,),
    ),
    Route(
        method="GET",
        path="/v1/incidents",
        handler=duties.list_incidents,
        name="listIncidents",
        zh="安全事件列表。",
        en="List of incidents.",
        parameters=(CURSOR, LIMIT),
        answers={200: json_of(duty_bodies.IncidentPage)},
        problems=(400,),
    ),
    Route(
        method="GET",
        path="/v1/incidents/{incident}",
        handler=duties.read_incident,
        name="readIncident",
        zh="安全事件的状态与记录。",
        en="State and records of an incident.",
        answers={200: json_of(duty_bodies.IncidentDetailBody)},
        problems=(400, 404),
    ),
    Route(
        method="GET",
        path="/v1/reciprocity",
        handler=reciprocity.list_pairs,
        name="listPairs",
        zh="互惠计数：请求方、提供方、用途与年份逐一列出。",
        en="Reciprocity: counters of each requester, provider, purpose and year.",
        parameters=(
            Parameter(name="requester", place="query", zh="只看该请求方。", en="Only this one."),
            Parameter(name="provider", place="query", zh="只看该提供方。", en="Only this one."),
            Parameter(name="purpose", place="query", zh="只看该用途。", en="Only this purpose."),
            _YEAR,
            CURSOR,
            LIMIT,
        ),
        answers={200: json_of(bodies.PairPage)},
        problems=(400,),
    ),
    Route(
        method="GET",
        path="/v1/members/{member}/dependency",
        handler=reciprocity.read_dependency,
        name="readMemberDependency",
        zh="成员收到的数据来自哪些提供方，各占千分之几。",
        en="Where the data came from that a member received, with shares in thousandths.",
        parameters=(_YEAR, CURSOR, LIMIT),
        answers={200: json_of(bodies.DependencyBody)},
        problems=(400, 404),
    ),
)
