"""One error shape: RFC 9457 `application/problem+json`, in Chinese or English.

Every refusal has a stable `code`; `STATUS` says which HTTP status it travels under, `_TEXTS` holds
the words of the codes that belong to HTTP itself, `contracts.words` those of the ledger's rules.
"""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from aiohttp import web

from contracts.words import Language, describe
from contracts.words.sentences import tell
from node.api.schemas.nodes import ProblemBody, ReasonBody

CONTENT_TYPE = "application/problem+json"
ACCEPT_CHARS_MAX = 200
_LOG = logging.getLogger("tallystick.api")
_ENCODER = msgspec.json.Encoder()

STATUS: Mapping[str, int] = {
    "request-malformed": 400,
    "body-malformed": 400,
    "body-truncated": 400,
    "parameter-invalid": 400,
    "cursor-invalid": 400,
    "batch-empty": 400,
    "event-malformed": 400,
    "event-kind-unknown": 400,
    "event-body-invalid": 400,
    "signature-invalid": 401,
    "member-unknown": 403,
    "member-not-active": 403,
    "officer-unknown": 403,
    "officer-of-other-member": 403,
    "officer-revoked": 403,
    "officer-expired": 403,
    "role-missing": 403,
    "route-unknown": 404,
    "event-unknown": 404,
    "entry-unknown": 404,
    "member-not-found": 404,
    "exchange-unknown": 404,
    "incident-unknown": 404,
    "proposal-not-found": 404,
    "tile-unknown": 404,
    "epoch-open": 404,
    "method-not-allowed": 405,
    "body-timeout": 408,
    "nonce-reused": 409,
    "duplicate": 409,
    "upgrade-required": 426,
    "body-too-large": 413,
    "event-too-large": 413,
    "batch-too-large": 413,
    "media-type-unsupported": 415,
    "rate-limited": 429,
    "quota-pending": 429,
    "headers-too-large": 431,
    "internal-error": 500,
    "too-many-connections": 503,
    "pool-full": 503,
    "node-not-ready": 503,
    "contracts-unusable": 503,
    "receipt-not-yet": 503,
    "checkpoint-not-yet": 503,
    "epoch-proof-not-yet": 503,
}
# A refusal whose code stands nowhere above was understood and found against the rules.
_STATUS_REFUSED = 422
_RETRY_AFTER_S = {429: 1, 503: 1}


@dataclass(frozen=True, slots=True)
class _Text:
    """Title, detail and advice of one code in one language."""

    title: str
    detail: str
    advice: str


_TEXTS: Mapping[str, tuple[_Text, _Text]] = {
    "request-malformed": (
        _Text("请求不是有效的 HTTP", "服务器无法解析该请求。", "检查客户端发送的请求行和头部。"),
        _Text(
            "Not valid HTTP",
            "The request could not be parsed.",
            "Check the request line and headers that the client sends.",
        ),
    ),
    "body-malformed": (
        _Text(
            "请求正文格式错误",
            "正文不是所声明类型的有效内容。",
            "按 /openapi.json 中的格式重新编码正文。",
        ),
        _Text(
            "Malformed body",
            "The body is not valid content of its declared type.",
            "Encode the body as /openapi.json describes.",
        ),
    ),
    "body-truncated": (
        _Text(
            "请求正文不完整", "连接在正文结束之前中断。", "完整地重新发送请求；重复提交是安全的。"
        ),
        _Text(
            "Truncated body",
            "The connection ended before the body did.",
            "Send the whole request again; submitting twice is safe.",
        ),
    ),
    "body-timeout": (
        _Text(
            "请求正文超时", "正文没有在规定时间内到达。", "检查网络后重新发送；重复提交是安全的。"
        ),
        _Text(
            "Body took too long",
            "The body did not arrive in the time allowed.",
            "Check the network and send again; submitting twice is safe.",
        ),
    ),
    "parameter-invalid": (
        _Text("参数无效", "路径或查询参数不符合格式。", "按 /openapi.json 修改该参数。"),
        _Text(
            "Invalid parameter",
            "A path or query parameter has the wrong form.",
            "Correct the parameter as /openapi.json describes.",
        ),
    ),
    "cursor-invalid": (
        _Text("游标无效", "该游标不是本接口给出的。", "不带游标从第一页重新开始。"),
        _Text(
            "Invalid cursor",
            "This cursor was not given out by this route.",
            "Start again from the first page, without a cursor.",
        ),
    ),
    "batch-empty": (
        _Text("批次为空", "批次中没有事件。", "至少提交一个事件。"),
        _Text("Empty batch", "The batch holds no event.", "Submit at least one event."),
    ),
    "batch-too-large": (
        _Text("批次过大", "批次中的事件过多。", "每批最多 1000 个事件，请拆分。"),
        _Text(
            "Batch too large",
            "The batch holds too many events.",
            "Split it: at most 1,000 events in one batch.",
        ),
    ),
    "body-too-large": (
        _Text("请求正文过大", "正文超过本路由允许的大小。", "缩小或拆分请求。"),
        _Text(
            "Body too large",
            "The body is larger than this route allows.",
            "Make the request smaller, or split it.",
        ),
    ),
    "headers-too-large": (
        _Text("请求头过大", "请求行或头部超过允许的大小。", "减少头部的数量或长度。"),
        _Text(
            "Headers too large",
            "The request line or a header is larger than allowed.",
            "Send fewer or shorter headers.",
        ),
    ),
    "media-type-unsupported": (
        _Text(
            "不支持的内容类型",
            "Content-Type 不受支持。",
            "使用 application/msgpack 或 application/json。",
        ),
        _Text(
            "Unsupported media type",
            "The Content-Type is not supported.",
            "Use application/msgpack or application/json.",
        ),
    ),
    "route-unknown": (
        _Text("没有这个地址", "该路径不存在。", "在 /openapi.json 中查看全部路径。"),
        _Text("No such route", "This path does not exist.", "See /openapi.json for every path."),
    ),
    "method-not-allowed": (
        _Text("不允许的方法", "该路径不接受此方法。", "使用 Allow 头中列出的方法。"),
        _Text(
            "Method not allowed",
            "This path does not take this method.",
            "Use a method that the Allow header lists.",
        ),
    ),
    "upgrade-required": (
        _Text("需要 WebSocket", "该路径只接受 WebSocket 握手。", "用 WebSocket 客户端连接。"),
        _Text(
            "WebSocket required",
            "This path takes WebSocket handshakes only.",
            "Connect with a WebSocket client.",
        ),
    ),
    "event-unknown": (
        _Text("未知事件", "本节点从未见过该事件。", "提交该事件；若已提交到别处，请稍后再查。"),
        _Text(
            "Unknown event",
            "This node has never seen the event.",
            "Submit it; if another node has it, ask again shortly.",
        ),
    ),
    "entry-unknown": (
        _Text("没有该条目", "日志还没有这么长。", "条目编号须小于 /v1/status 的 tree_size。"),
        _Text(
            "No such entry",
            "The log is not that long yet.",
            "Ask for an index below the tree_size of /v1/status.",
        ),
    ),
    "member-not-found": (
        _Text("没有该成员", "登记中没有这个成员。", "成员编号见 /v1/members。"),
        _Text(
            "No such member",
            "The registry has no member of that id.",
            "See /v1/members for the ids.",
        ),
    ),
    "proposal-not-found": (
        _Text("没有此提案", "本节点没有登记这个提案。", "请核对编号；若刚刚登记，请稍后再查。"),
        _Text(
            "No such proposal",
            "This node has no record of the proposal.",
            "Check the id; if it was recorded just now, ask again shortly.",
        ),
    ),
    "tile-unknown": (
        _Text("没有该分块", "该分块不存在或尚未完成。", "按检查点的大小计算分块路径。"),
        _Text(
            "No such tile",
            "The tile does not exist or is not complete yet.",
            "Compute tile paths from the size of the checkpoint.",
        ),
    ),
    "quota-pending": (
        _Text("待定事件过多", "该成员或地址的待定事件已达份额。", "等待已提交的事件成为终局。"),
        _Text(
            "Too many pending events",
            "The member or address has its share of pending events.",
            "Wait until submitted events are final.",
        ),
    ),
    "too-many-connections": (
        _Text("连接过多", "本节点的连接数已满。", "复用连接，或稍后重试。"),
        _Text(
            "Too many connections",
            "This node has as many connections as allowed.",
            "Reuse connections, or try again later.",
        ),
    ),
    "receipt-not-yet": (
        _Text("尚无回执", "还没有覆盖该条目的法定多数检查点。", "稍后重试，或使用 ?wait=5。"),
        _Text(
            "No receipt yet",
            "No quorum checkpoint covers the entry yet.",
            "Try again shortly, or use ?wait=5.",
        ),
    ),
    "checkpoint-not-yet": (
        _Text("尚无检查点", "还没有法定多数联署的检查点。", "稍后重试。"),
        _Text(
            "No checkpoint yet",
            "No checkpoint has a quorum of cosignatures yet.",
            "Try again shortly.",
        ),
    ),
    "epoch-open": (
        _Text("该纪元尚未结束", "没有证明该纪元结束。", "现行纪元见 /v1/validators。"),
        _Text(
            "The epoch has not ended",
            "Nothing proves the end of this epoch.",
            "See /v1/validators for the epoch in force.",
        ),
    ),
    "epoch-proof-not-yet": (
        _Text(
            "尚无纪元证明",
            "该纪元已结束，其最后的检查点还没有法定多数。",
            "稍后重试，或询问另一节点。",
        ),
        _Text(
            "No proof of the epoch yet",
            "The epoch has ended; its last checkpoint has no quorum yet.",
            "Try again shortly, or ask another node.",
        ),
    ),
    "internal-error": (
        _Text(
            "内部错误", "节点遇到未预料的错误。", "把 error_id 告诉节点管理员；重复提交是安全的。"
        ),
        _Text(
            "Internal error",
            "The node met an error that it did not expect.",
            "Tell the node's operator the error_id; submitting twice is safe.",
        ),
    ),
}
HTTP_CODES = tuple(_TEXTS)


class Problem(Exception):
    """A refusal on its way to the client. `detail` replaces the standing text of `code`.

    It is an English sentence that `contracts.words.sentences` has, or values alone.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        digest: bytes = b"",
        retry_after_s: int = 0,
        reasons: tuple[ReasonBody, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or code)
        self.code = code
        self.detail = detail
        self.digest = digest
        self.retry_after_s = retry_after_s
        self.reasons = reasons
        self.headers = dict(headers or {})
        self.error_id = ""


def status_of(code: str) -> int:
    """HTTP status under which a code travels."""
    return STATUS.get(code, _STATUS_REFUSED)


def language_of(request: web.BaseRequest) -> Language:
    """The language that a client asks for."""
    return choose_language(request.headers.get("Accept-Language", ""))


def headers_in(language: Language) -> dict[str, str]:
    """Headers of an answer that is worded for one client, in its language."""
    return {"Content-Language": language, "Cache-Control": "no-store"}


def choose_language(accept_language: str) -> Language:
    """The better liked of zh and en (RFC 9110 section 12.5.4); zh if neither is named."""
    best: Language = "zh"
    best_weight = 0.0
    for item in accept_language[:ACCEPT_CHARS_MAX].split(","):
        name, _, parameter = item.strip().partition(";")
        primary = name.strip().partition("-")[0].lower()
        weight = _weight(parameter)
        if primary in ("zh", "en") and weight > best_weight:
            best, best_weight = ("zh" if primary == "zh" else "en"), weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def problem_body(problem: Problem, *, language: Language, instance: str) -> ProblemBody:
    """The body of a problem in one language."""
    text = _text_of(problem.code, language)
    status = status_of(problem.code)
    return ProblemBody(
        type=f"urn:tallystick:problem:{problem.code}",
        title=text.title,
        status=status,
        detail=tell(problem.detail, language, problem.code) or text.detail,
        code=problem.code,
        advice=text.advice,
        instance=instance,
        digest=problem.digest.hex(),
        error_id=problem.error_id,
        retry_after_s=problem.retry_after_s or _RETRY_AFTER_S.get(status, 0),
        reasons=problem.reasons,
    )


def problem_response(problem: Problem, *, language: Language, instance: str) -> web.Response:
    """Response of a problem. 429 and 503 always carry `Retry-After`."""
    body = problem_body(problem, language=language, instance=instance)
    headers = dict(problem.headers)
    if body.retry_after_s:
        headers["Retry-After"] = str(body.retry_after_s)
    headers["Content-Language"] = language
    headers["Cache-Control"] = "no-store"
    return web.Response(
        status=body.status, body=_ENCODER.encode(body), content_type=CONTENT_TYPE, headers=headers
    )


def unexpected(error: BaseException, where: str) -> Problem:
    """Problem for an error that nobody foresaw: logged in full, told as an id only."""
    problem = Problem("internal-error")
    problem.error_id = secrets.token_hex(8)
    _LOG.error("error %s in %s", problem.error_id, where, exc_info=error)
    return problem


def _text_of(code: str, language: Language) -> _Text:
    texts = _TEXTS.get(code)
    if texts is not None:
        return texts[0] if language == "zh" else texts[1]
    words = describe(code, language)
    return _Text(words.title, words.detail, words.advice)
