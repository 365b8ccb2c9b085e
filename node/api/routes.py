"""The table of every route: one row registers it and documents it."""

from ledger import registry
from ledger.governance.keys import GATEWAYS
from ledger.governance.registers import CODE_LISTS, RECORD_SCHEMAS
from node.api import events, health, reads, stream
from node.api.context import MSGPACK
from node.api.exchange import routes as exchange_routes
from node.api.governance import members, proposals, validators
from node.api.openapi import CURSOR, LIMIT, MEMBER, Media, Parameter, Route, json_of
from node.api.schemas import base, credit, diagnosis, log, nodes, values
from node.api.schemas import duties as duty_bodies
from node.api.schemas.governance import members as member_bodies
from node.api.schemas.governance import proposals as proposed
from node.api.schemas.governance import registers
from node.api.schemas.governance import validators as bodies

_WAIT = Parameter(
    name="wait",
    place="query",
    zh="最多等待秒数（0 至 30）。",
    en="Seconds to wait at most (0 to 30).",
)
_PREFER = Parameter(
    name="Prefer",
    place="header",
    zh="wait=5：等待终局，最多 30 秒。",
    en="wait=5: wait for the final outcome, 30 seconds at most.",
)
_IF_NONE_MATCH = Parameter(
    name="If-None-Match", place="header", zh="已有内容的 ETag。", en="ETag of what the client has."
)
_BINARY = Media(content_type="application/octet-stream")
_TEXT = Media(content_type="text/plain")


def _registry_route(
    path: str, name: str, zh: str, en: str, handler: reads.Handler, page: type[base.Body]
) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        name=name,
        zh=zh,
        en=en,
        parameters=(CURSOR, LIMIT),
        answers={200: json_of(page)},
        problems=(400,),
    )


_EVENT_ROUTES = (
    Route(
        method="POST",
        path="/v1/events",
        handler=events.submit_event,
        name="submitEvent",
        zh="提交一个已签名事件。",
        en="Submit one signed event.",
        parameters=(_PREFER,),
        takes=(
            Media(content_type=MSGPACK, text="the signed event's bytes"),
            Media(content_type="application/json", struct=log.SubmitEvent),
        ),
        answers={
            200: json_of(log.StatusBody, "终局 final"),
            202: json_of(log.StatusBody, "待定 pending"),
        },
        problems=(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    ),
    Route(
        method="POST",
        path="/v1/events/batch",
        handler=events.submit_batch,
        name="submitBatch",
        zh="提交最多 1000 个已签名事件，逐一答复。",
        en="Submit up to 1,000 signed events, each with its own answer.",
        parameters=(_PREFER,),
        takes=(
            Media(content_type=MSGPACK, text="array of byte strings"),
            Media(content_type="application/json", struct=log.SubmitBatch),
        ),
        answers={
            200: json_of(log.BatchBody, "没有待定 none pending"),
            202: json_of(log.BatchBody, "有待定 some pending"),
        },
        problems=(400, 408, 413, 415, 429, 503),
    ),
    Route(
        method="GET",
        path="/v1/events/{digest}",
        handler=events.read_event_status,
        name="readEvent",
        zh="按摘要查询事件状态。",
        en="Status of an event by its digest.",
        parameters=(_WAIT,),
        answers={200: json_of(log.StatusBody)},
        problems=(400, 404),
    ),
    Route(
        method="GET",
        path="/v1/members/{member}/events/{nonce}",
        handler=events.read_event_by_nonce,
        name="readEventByNonce",
        zh="按成员与 nonce 查询事件状态。",
        en="Status of an event by member and nonce.",
        parameters=(_WAIT,),
        answers={200: json_of(log.StatusBody)},
        problems=(400, 404),
    ),
    Route(
        method="GET",
        path="/v1/submit",
        handler=stream.submit_stream,
        name="submitStream",
        zh="WebSocket 流式提交：帧为 MessagePack 事件数组，答复为数组。",
        en="Submission by WebSocket: frames are MessagePack arrays of events, then of answers.",
        answers={101: None, 200: Media(content_type=MSGPACK, struct=log.StreamAnswer)},
        problems=(426,),
        is_streaming=True,
    ),
    Route(
        method="GET",
        path="/v1/stream",
        handler=stream.stream_blocks,
        name="streamBlocks",
        zh="终局区块的事件流（SSE），可用 Last-Event-ID 续传。",
        en="Final blocks as server-sent events, resumable with Last-Event-ID.",
        parameters=(
            Parameter(
                name="member",
                place="query",
                zh="只看该成员参与的，以及各成员共同决定的。",
                en="Only what this member takes part in, and what members decide together.",
            ),
            Parameter(
                name="Last-Event-ID",
                place="header",
                zh="最后收到的高度。",
                en="Last height received.",
            ),
        ),
        answers={200: Media(content_type="text/event-stream", struct=log.BlockBody)},
        problems=(400,),
        is_streaming=True,
    ),
)

_LOG_ROUTES = (
    Route(
        method="GET",
        path="/v1/entries/{index}",
        handler=reads.read_entry,
        name="readEntry",
        zh="日志条目及其原始字节。",
        en="A log entry with its exact bytes.",
        parameters=(_IF_NONE_MATCH,),
        answers={200: json_of(log.EntryBody), 304: None},
        problems=(400, 404),
    ),
    Route(
        method="GET",
        path="/v1/entries/{index}/receipt",
        handler=reads.read_receipt,
        name="readReceipt",
        zh="条目回执（tlog-proof）。",
        en="Receipt of an entry (tlog-proof).",
        parameters=(_WAIT,),
        answers={200: _TEXT},
        problems=(400, 404, 503),
    ),
    Route(
        method="GET",
        path="/log/checkpoint",
        handler=reads.read_checkpoint,
        name="readCheckpoint",
        zh="最新的法定多数检查点。",
        en="Newest quorum checkpoint.",
        answers={200: _TEXT},
        problems=(503,),
    ),
    Route(
        method="GET",
        path="/log/tile/{path:.+}",
        handler=reads.read_tile,
        name="readTile",
        zh="日志分块（C2SP tlog-tiles）。",
        en="Tiles of the log (C2SP tlog-tiles).",
        parameters=(_IF_NONE_MATCH,),
        answers={200: _BINARY, 304: None},
        problems=(404,),
    ),
    Route(
        method="GET",
        path="/v1/requests",
        handler=reads.list_requests,
        name="listRequests",
        zh="共享请求列表。",
        en="List of share requests.",
        parameters=(
            MEMBER,
            Parameter(name="status", place="query", zh="只看该状态。", en="Only this status."),
            CURSOR,
            LIMIT,
        ),
        answers={200: json_of(log.RequestPage)},
        problems=(400,),
    ),
    Route(
        method="GET",
        path="/v1/requests/{exchange}",
        handler=reads.read_request,
        name="readRequest",
        zh="共享请求的状态与记录。",
        en="State and records of a share request.",
        answers={200: json_of(duty_bodies.RequestBody)},
        problems=(400, 404),
    ),
)

_REGISTRY_ROUTES = (
    _registry_route(
        "/v1/members",
        "listMembers",
        "成员单位。",
        "Members.",
        reads.list_registry(
            b"m/", registry.MEMBERS, base.shape_of(values.MemberBody), values.MemberPage
        ),
        values.MemberPage,
    ),
    Route(
        method="GET",
        path="/v1/members/{member}",
        handler=members.read_member,
        name="readMember",
        zh="一个成员：密钥、如何加入、还在等什么；表决中的申请者亦可查。",
        en="A member: keys, how it was admitted, what it waits for; also who is proposed as one.",
        answers={200: json_of(member_bodies.MemberDetailBody)},
        problems=(400, 404),
    ),
    Route(
        method="GET",
        path="/v1/members/{member}/credit",
        handler=reads.read_member_credit,
        name="readMemberCredit",
        zh="成员的信用：分数、等级、缘由与等级变化。",
        en="Credit of a member: score, grade, causes and changes of grade.",
        answers={200: json_of(credit.CreditBody)},
        problems=(400, 404),
    ),
    _registry_route(
        "/v1/officers",
        "listOfficers",
        "经办人密钥与角色。",
        "Officer keys and roles.",
        reads.list_registry(b"o/", registry.OFFICERS, values.officer_body, values.OfficerPage),
        values.OfficerPage,
    ),
    _registry_route(
        "/v1/datasets",
        "listDatasets",
        "数据集。",
        "Datasets.",
        reads.list_registry(
            b"d/", registry.DATASETS, base.shape_of(values.DatasetBody), values.DatasetPage
        ),
        values.DatasetPage,
    ),
    _registry_route(
        "/v1/legal-bases",
        "listLegalBases",
        "法律依据。",
        "Legal bases.",
        reads.list_registry(
            b"l/",
            registry.LEGAL_BASES,
            base.shape_of(values.LegalBasisBody),
            values.LegalBasisPage,
        ),
        values.LegalBasisPage,
    ),
    _registry_route(
        "/v1/purposes",
        "listPurposes",
        "用途。",
        "Purposes.",
        reads.list_registry(
            b"u/", registry.PURPOSES, base.shape_of(values.PurposeBody), values.PurposePage
        ),
        values.PurposePage,
    ),
    _registry_route(
        "/v1/record-schemas",
        "listRecordSchemas",
        "记录模式，每个数据集的各个版本。",
        "Record schemas, every version for each dataset.",
        reads.list_registry(
            b"R/",
            RECORD_SCHEMAS,
            base.shape_of(registers.RecordSchemaBody),
            registers.RecordSchemaPage,
        ),
        registers.RecordSchemaPage,
    ),
    _registry_route(
        "/v1/code-lists",
        "listCodeLists",
        "代码表。",
        "Code lists.",
        reads.list_registry(
            b"L/", CODE_LISTS, base.shape_of(registers.CodeListBody), registers.CodeListPage
        ),
        registers.CodeListPage,
    ),
    _registry_route(
        "/v1/gateways",
        "listGateways",
        "各成员的数据网关：地址与证书。",
        "Payload gateways of members: address and certificates.",
        reads.list_registry(b"G/", GATEWAYS, values.member_gateway_body, values.GatewayPage),
        values.GatewayPage,
    ),
    Route(
        method="GET",
        path="/v1/sunsets",
        handler=reads.list_sunsets,
        name="listSunsets",
        zh="失效日期：何物自哪天起失效，是否已失效。",
        en="Sunset dates: what is out of force from which day on, and whether it is.",
        answers={200: json_of(registers.SunsetsBody)},
        problems=(400,),
    ),
    Route(
        method="GET",
        path="/v1/contracts",
        handler=reads.read_contracts,
        name="readContracts",
        zh="现行合约全文。",
        en="The contracts in force, with their texts.",
        parameters=(_IF_NONE_MATCH,),
        answers={200: json_of(values.ContractsBody), 304: None},
    ),
    Route(
        method="GET",
        path="/v1/network",
        handler=reads.read_network,
        name="readNetwork",
        zh="网络标识、验证者、参数与办理时限。",
        en="Network identity, validators, parameters and deadlines.",
        answers={200: json_of(nodes.NetworkBody)},
    ),
    Route(
        method="GET",
        path="/v1/genesis",
        handler=reads.read_genesis,
        name="readGenesis",
        zh="创世文件。",
        en="The genesis file.",
        parameters=(_IF_NONE_MATCH,),
        answers={200: Media(content_type="application/json"), 304: None},
    ),
    Route(
        method="GET",
        path="/v1/genesis/signatures",
        handler=reads.read_founders,
        name="readFounders",
        zh="全体创始成员对创世文件的签名。",
        en="Signatures of all founders under the genesis.",
        parameters=(_IF_NONE_MATCH,),
        answers={200: Media(content_type="application/json"), 304: None},
    ),
)

_GOVERNANCE_ROUTES = (
    Route(
        method="GET",
        path="/v1/validators",
        handler=validators.read_validators,
        name="readValidators",
        zh="现行纪元的验证者与待生效的变更。",
        en="Validators of the epoch in force, and the pending change.",
        answers={200: json_of(bodies.ValidatorsBody)},
    ),
    Route(
        method="POST",
        path="/v1/validators/preview",
        handler=validators.preview_validators,
        name="previewValidators",
        zh="试算一项变更：得到怎样的名单、其中谁在线；不提交任何内容。",
        en="Dry run of a change: the list it makes, and who of it is heard; submits nothing.",
        takes=(
            Media(content_type=MSGPACK, text="array of actions, as in a proposal"),
            Media(content_type="application/json", struct=bodies.PreviewActions),
        ),
        answers={200: json_of(bodies.PreviewBody)},
        problems=(400, 408, 413, 415),
    ),
    Route(
        method="GET",
        path="/v1/evidence",
        handler=validators.list_evidence,
        name="listEvidence",
        zh="账本上的重复投票证据。",
        en="Evidence of double votes on the ledger.",
        parameters=(CURSOR, LIMIT),
        answers={200: json_of(bodies.EvidencePage)},
        problems=(400,),
    ),
    Route(
        method="GET",
        path="/v1/log/epochs/{epoch}",
        handler=validators.read_epoch_proof,
        name="readEpochProof",
        zh="结束一个纪元的证明：下一份验证者名单。",
        en="Proof that ends an epoch: the validators that come after it.",
        parameters=(_IF_NONE_MATCH,),
        answers={200: _BINARY, 304: None},
        problems=(400, 404, 503),
    ),
)

_PROPOSAL_ROUTES = (
    Route(
        method="GET",
        path="/v1/rules",
        handler=proposals.list_rules,
        name="listRules",
        zh="表决规则：谁有表决权，各类事项需几个成员同意。",
        en="Rules of voting: who votes, and how many must approve in each class.",
        answers={200: json_of(proposed.RulesBody)},
    ),
    Route(
        method="POST",
        path="/v1/proposals/preview",
        handler=proposals.preview_proposal,
        name="previewProposal",
        zh="试算一项提案：改变什么、为何不可行、需几个成员同意；不提交任何内容。",
        en="Dry run of a proposal: what it changes, why it cannot be, who must approve; no more.",
        takes=(
            Media(content_type=MSGPACK, text="map of actions and member"),
            Media(content_type="application/json", struct=proposed.PreviewProposal),
        ),
        answers={200: json_of(proposed.ProposalPreviewBody)},
        problems=(400, 408, 413, 415),
    ),
    Route(
        method="GET",
        path="/v1/proposals",
        handler=proposals.list_proposals,
        name="listProposals",
        zh="提案列表。",
        en="List of proposals.",
        parameters=(
            Parameter(name="status", place="query", zh="只看该状态。", en="Only this status."),
            CURSOR,
            LIMIT,
        ),
        answers={200: json_of(proposed.ProposalPage)},
        problems=(400,),
    ),
    Route(
        method="GET",
        path="/v1/proposals/{digest}",
        handler=proposals.read_proposal,
        name="readProposal",
        zh="一项提案：内容、表决、还缺谁、会改变什么。",
        en="A proposal: content, ballots, who is missing, what it would change.",
        answers={200: json_of(proposed.ProposalBody)},
        problems=(400, 404),
    ),
    Route(
        method="GET",
        path="/v1/history/{target:.+}",
        handler=proposals.read_history,
        name="readHistory",
        zh="某一事物历次由表决作出的变更，如 dataset/account。",
        en="What votes have changed of one thing, such as dataset/account.",
        answers={200: json_of(proposed.HistoryBody)},
        problems=(400,),
    ),
)

_NODE_ROUTES = (
    Route(
        method="GET",
        path="/v1/status",
        handler=health.read_status,
        name="readStatus",
        zh="节点状态。",
        en="State of the node.",
        answers={200: json_of(nodes.NodeBody)},
    ),
    Route(
        method="GET",
        path="/v1/diagnosis",
        handler=health.read_diagnosis,
        name="readDiagnosis",
        zh="诊断：哪里不对，怎么办。",
        en="Diagnosis: what is wrong, and what to do.",
        answers={200: json_of(diagnosis.DiagnosisBody)},
    ),
    Route(
        method="GET",
        path="/healthz",
        handler=health.read_health,
        name="readHealth",
        zh="进程存活。",
        en="The process is alive.",
        answers={200: json_of(nodes.HealthBody)},
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=health.read_ready,
        name="readReady",
        zh="节点就绪，否则给出原因。",
        en="The node is ready, or the reasons why not.",
        parameters=(_WAIT,),
        answers={200: json_of(nodes.HealthBody)},
        problems=(400, 503),
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler=health.read_openapi,
        name="readOpenapi",
        zh="本文档。",
        en="This document.",
        parameters=(_IF_NONE_MATCH,),
        answers={200: Media(content_type="application/json"), 304: None},
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=health.read_metrics,
        name="readMetrics",
        zh="Prometheus 指标（指标监听地址）。",
        en="Prometheus figures (on the metrics listener).",
        answers={200: _TEXT},
        listener="metrics",
    ),
)

ROUTES: tuple[Route, ...] = (
    *_EVENT_ROUTES,
    *_LOG_ROUTES,
    *exchange_routes.ROUTES,
    *_REGISTRY_ROUTES,
    *_GOVERNANCE_ROUTES,
    *_PROPOSAL_ROUTES,
    *_NODE_ROUTES,
)
