"""Finds what failed from the words of an error: a sentence, or a code. Pure, and independent of vendors.

How this works. Vendors share no codes and no sentences, but they report the same things in similar words. A rule lists
words that must occur together in one sentence: the subject ("prompt", "balance", "model"), the verdict ("too long",
"used up", "does not exist"), and words that change the meaning: a limit "per minute" is no context window, and "not
supported with this model" blames a parameter.

- A text is cut to `_READ` characters, and then split into sentences. A code counts as a short sentence:
  `modelNotFound`, `model_not_found` and `model:not-found` say the same.
- Quoted text of more than one word is ignored: it is the caller's, unless it is a message that a gateway passes on.
- Parameter names (`max_tokens`) count as words of their own, not as the words inside them.
- The first rule that matches any sentence decides; the order of the rules settles ambiguous sentences ("suspended for
  want of balance").

Every pattern runs in linear time: its repetitions are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.errors import FailureType

F = FailureType

_READ = 2048
"""Characters to read of a text."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """Words that mean `kind` if a sentence has all of `words` and none of `unless`."""

    kind: FailureType
    words: tuple[str, ...]
    unless: tuple[str, ...] = ()
    weak: bool = False
    """Whether it is void if the text speaks of throttling, or names a short wait."""


_THROTTLE = (
    r"(?<![a-z])(?:per|each|every)[ _-]?(?:sec(?:ond)?|min(?:ute)?|hour|day)s?(?![a-z])"
    r"|s_?per(?:second|minute|hour|day)|/ ?min(?:ute)?\b"
    r"|\brate[ _-]?limit|\b(?:[rt]p[smhd]|qp[smd])\b|\bthrottl|\btoo many requests|\bslow down"
    r"|\bretry(?:ing)? (?:again )?(?:in|after)\b|\btry again (?:in|after)\b|\bwait\b|\bconcurren|频繁|限流|速率|并发"
)

# The request is longer than the model accepts.
_INPUT = (
    r"\b(?:prompts?|inputs?|messages?|conversations?|chat|history|requests?|requested|contents?|texts?|query|transcript"
    r"|sequence|payload|documents?|instructions)\b"
)
_CONTEXT = (
    r"\bmax_(?:model|seq|input)_len\w*|\bcontext of\b"
    r"|\bcontext[ _-]?(?:length|window|size|limit|budget|capacity)|\b(?:max(?:imum)?|available) context\b"
    r"|\bcontext\b.{0,20}overflow|\bn(?:um)?_ctx\b|\bmax(?:imum)? (?:model|sequence|prompt|input) len"
)
_EXCEEDS = r"exceed|(?<!be )(?:longer|larger|greater|more|bigger) than|surpass|overflow|\bover the\b|\bbeyond\b"
_TOO_LONG = r"\btoo (?:long|large|big)\b|\btoo many (?:\w+ ){0,3}(?:tokens|bytes|characters)\b"
_SIZE = r"\btokens?\b|\blength\b|\bsize\b|\bmax\w*|\blimit\b|\bcharacters\b"
_BOUND = (
    r"\bmax(?:imum)?\b|\blimit\b|\bat most\b|\bup to\b|<=?|\b(?:less|fewer) than\b|\bshould be \["
    r"|\bonly (?:accept|take|allow|support|handle)s?\b"
)
_PART = (
    r"\b(?:names?|descriptions?|title|stop|metadata|images?|pictures?|photo|video|audio|files?|pdf|urls?|uri|schemas?"
    r"|enum|tools?|tool_\w+|functions?|headers?|cookies?|ids?|\w+_id|\w+_name|keys?|passwords?|batch|arrays?|choices"
    r"|logit\w*|vocabulary|items?|base64)\b(?!.*\btokens\b)"
)
"""A part of the request that is not measured in tokens."""
_OUTPUT = (
    r"\b(?:output|completion|generated|new|response) (?:tokens?|length)\b|\bmax_\w*tokens?\b|\bbudget_tokens\b|输出"
)
_NUMBER_WANTED = r"\bmust be (?:an? )?(?:\w+ )?(?:positive|integer|number|int|string|between)|logit_bias|\btoken ids?\b"
_NOT_LENGTH = (_PART, _NUMBER_WANTED)

# The vendor's content filter.
_POLICY = (
    r"\bcontent[ _-]?(?:polic|filter|management|moderation|guideline|safety)|\busage (?:polic|guideline|terms)"
    r"|\bacceptable use|\bmoderation\b|\bsafety (?:system|polic|filter|guideline|check|reason|guardrail)|\bguardrail"
    r"|\bresponsible ?ai|\bcommunity guideline|\bterms of (?:service|use)"
)
_REFUSED = (
    r"violat|\bflagged|\bblock|\bfilter(?:ed|ing)|reject|refus|trigger|\bagainst\b|\bdenied|\bfailed\b|prohibit"
    r"|\bdetected|\bbreach|not (?:be )?(?:allowed|permitted)"
)
_SAID = (
    r"\b(?:contents?|prompts?|inputs?|outputs?|texts?|messages?|data|requests?|responses?|conversations?|answers?"
    r"|questions?|words?|images?|material)\b"
)
_HARMFUL = (
    r"\binappropriate|\bunsafe\b|\bharmful|\bsensitive (?:info|content|words?|data|topic|material)|\boffensive"
    r"|\brisk|\bnsfw\b|\b(?:prohibited|disallowed|explicit|illegal)[ _]content|\bsexual"
    r"|\w_sensitive\b|\bviolen(?:t|ce)|\bhate(?:ful)?\b|\bjailbreak|\bself-harm"
)

# The account has no money, or its plan is used up.
_MONEY = r"\b(?:balance|credits?|funds?|wallet|money|prepa(?:id|yment)s?|resource package)\b(?! card)"
_SPENT = (
    r"\binsufficient|\bnot enough\b|\blow\b|exhaust|deplet|\bused (?:up|all)\b|\b(?:ran|run|running) out\b|exceed"
    r"|\bnegative\b|\bempty\b|\bzero\b|\black|\boverdrawn\b|\bexpired\b|\bdo(?:es)? not have\b|\bspent\b"
    r"|\bno (?:more |remaining |available |active )?(?:balance|credits?|funds?|quota|allowance)|\bout of\b|\bafford"
    r"|\brequires? (?:more|additional|a positive)\b|\bneeds? (?:more|to add)\b|\bmore (?:credits|funds)\b|\breached\b"
    r"|\boverdue\b"
)
_FREE_OF_CHARGE = r"\b(?:no|not|never|without) (?:\w+ ){0,4}(?:charged|deducted|billed|consumed|debited)\b"
_PAYING = r"\b(?:billing|payments?|subscription|invoices?)\b"
_UNPAID = (
    r"\binactive\b|\bnot active\b|expired|\boverdue\b|\bunpaid\b|\bfailed\b|\bdeclined\b|\brequired\b|exhaust"
    r"|\bused up\b|\breached\b|exceed|cancel|\bsuspended\b|\bpast due\b|\blapsed\b|\bno (?:payment|active|valid)"
    r"|\bnot enabled\b|\brequires\b|\badd\b"
)
_ALLOWANCE = (
    r"\b(?:quotas?|allowance|plan|package|free[ -](?:tier|usage|trial)|trial|usage limit|spend(?:ing)? (?:limit|cap)"
    r"|hard limit|(?:key|account|team|project|organi[sz]ation|credit|monthly|weekly) (?:\w+ )?limit"
    r"|usage(?! (?:polic|guideline|terms)))\b"
)
_USED_UP = (
    r"exhaust|deplet|\bused (?:up|all)\b|\b(?:ran|run) out\b|exceed|\breached\b|\bhit\b|\bexpired\b|\binsufficient"
    r"|\bended\b|\bis over\b"
)

# The model is not available to this account.
_FEATURE = (
    r"\b(?:tools?|tool_\w+|functions?|response[_ ]?format|json\w*|schemas?|structured|images?|vision|audio|video"
    r"|streaming|temperature|top_[pk]|\w*param(?:eter)?s?|arguments?|options?|features?|roles?|logprobs?|stop|seed|reasoning"
    r"|thinking|\w*penalty|formats?|modalit\w+|multimodal|prefill|caching|batch|fields?|property)\b"
)
_NOT_OBJECT = "".join(
    rf"(?<!\b{before}{which} )"
    for before in ("with", "by", "for", "on", "in", "using", "from")
    for which in ("", " this", " the", " that", " your")
)
_MODEL = rf"{_NOT_OBJECT}\b(?:models?|deployment|engine)\b(?! (?:output|response|param|feature|option|setting)s?\b)"
_ABSENT = (
    r"(?:\bnot (?:\w+ ){0,2}(?:exist|found|located|loaded|supported|available|accessible|recogni[sz]ed|known|valid"
    r"|enabled|allowed|active|deployed|served|offered|hosted|permitted|provisioned)\b"
    r"|\bno longer\b|\bonly (?:supported|available) (?:in|on|via|through|with)\b"
    r"|\b(?:is|was|are|been) (?:\w+ )?(?:invalid|unknown|unavailable|deprecated|decommissioned|retired"
    r"|discontinued|removed|sunset|shut ?down|disabled|unsupported|gone|blocked)\b"
    r"|\b(?:decommissioned|retired|discontinued|unavailable|deprecated|unknown|unsupported)$|\bend of life\b)"
)
_WRONG_MODEL = (
    r"\b(?:unknown|invalid|unsupported|unrecogni[sz]ed|non-?existent|no such|not an? (?:valid|known|recogni[sz]ed)"
    r"|incorrect|wrong|deprecated|unavailable) (?:or \w+ )?(?:\w+ )?models?\b"
    r"(?! (?:output|response|param|feature|option|setting|config|input|message|argument|version|type|role))"
)

# The server does not support a kind of content.
_CONTENT = (
    r"\b(?:images?|pictures?|vision|audio|videos?|files?|documents?|multimodal|modalit\w+|tools?|tool_\w+|functions?)\b"
)
_NO_SUPPORT = r"\bnot (?:\w+ )?support(?:ed)?\b|\bunsupported\b|\bno support for\b"

# The server refuses the key, the account or its location.
_KEY = (
    r"\b(?:api[ _-]?|your )keys?\b|\bx-api-key\b|\b(?:access|secret)[ _-]keys?\b|\b(?:access|auth|api|bearer|user"
    r"|refresh|security|oauth|session|jwt) tokens?\b|\bcredentials?\b|\bauthorization\b|\bauthentication\b|\bbearer\b"
    r"|\bjwt\b|密钥"
)
_KEY_REFUSED = (
    r"\binvalid\b|\bincorrect|\bbad\b|\bexpected\b|expired|\bmissing\b|\brevoked"
    r"|\bnot (?:\w+ ){0,2}(?:valid|found|provided?|set|active"
    r"|allowed|recogni[sz]ed|authori[sz]ed|exist|permitted|accepted|supported)\b|\bno\b|\brequired\b|\bdisabled|deactivated"
    r"|suspended|\bleaked|\bmalformed|\bwrong\b|\bdenied|\bfail(?:ed|ure)\b|\breject|\bunauthori[sz]ed|\bblocked|\bbanned"
    r"|\bunrecogni[sz]ed|\bmismatch|\bunknown\b|无效|过期|错误|不存在"
)
_PATH = r"\w\[\d*\]|\w\.(?:\w+\.)?(?:properties|parameters|\d+)\b|\bproperties\b"
"""A place within the request."""
_NOT_CREDENTIAL = (
    r"\bjson\b|\bpars(?:e|ing|er)\b|\bunexpected\b|\bsyntax\b|\bposition\b|\bline \d|\bcolumn\b|\bstop\b|logit|vocab"
)
_PLACE = r"\b(?:country|countries|regions?|territor(?:y|ies)|location)\b"

# Gateways return this with 404: the model exists for other requests.
_NO_SUCH_BACKEND = _Rule(F.INVALID_REQUEST, (
    r"\bno (?:\w+ ){0,2}(?:endpoint|provider|deployment|route|backend)s?\b",
    r"\bsupport(?:s|ing)?\b|\bhandles?\b|\baccepts?\b", _FEATURE,
))  # fmt: skip
# Some servers return this with 500 (llama.cpp), and would fail the same request again.
_NO_SUCH_CONTENT = _Rule(F.INVALID_REQUEST, (_CONTENT, _NO_SUPPORT))

_RULES: tuple[_Rule, ...] = (
    _Rule(F.INVALID_RESPONSE, (r"\bfailed to (?:call|generate|invoke|produce)\b", r"\b(?:functions?|tools?|json)\b")),
    _Rule(F.INVALID_RESPONSE, (r"\b(?:tool|function)[ _](?:call|use)", r"\bvalidation failed\b|\battempted to call\b")),
    _Rule(
        F.INVALID_RESPONSE,
        (
            r"\bmodel\b.{0,30}\b(?:produced|returned|generated|emitted|wrote)\b|\b(?:generated|failed_generation)\b",
            r"\b(?:invalid|malformed|broken|incomplete|not valid|failed to (?:parse|validate))\b",
            r"\b(?:json|tool|function|arguments?)\b",
        ),
    ),
    _Rule(F.QUOTA, (_MONEY, _SPENT), (_THROTTLE, _PATH, _FREE_OF_CHARGE)),
    _Rule(F.QUOTA, (_PAYING, _UNPAID), (_THROTTLE, _PATH, r"\bfields?\b")),
    _Rule(F.QUOTA, (
        r"\barrear|\bgood standing\b|\btop[- ]?up\b|\brecharge\b"
        r"|\baccount (?:is )?(?:not active|inactive|overdue|past due)\b"
        r"|\bout of (?:\w+ )?(?:usage|quota|requests|messages)\b",
    ), (_THROTTLE,)),
    _Rule(F.QUOTA, (
        r"(?:余额|额度|资源包|套餐|配额|点数|积分).{0,12}(?:不足|用尽|用完|耗尽|不够|过期|到期|超限)|欠费|充值",
    )),
    _Rule(F.CONTEXT_LENGTH, (_CONTEXT, rf"{_EXCEEDS}|{_TOO_LONG}|{_SIZE}|\bnot enough\b|\bfits?\b|\bout of\b"),
          (_NUMBER_WANTED, r"\binvalid (?:value|type)\b"), weak=True),
    _Rule(F.CONTEXT_LENGTH, (rf"{_INPUT}|\btokens\b", _TOO_LONG), (*_NOT_LENGTH, _OUTPUT), weak=True),
    _Rule(F.CONTEXT_LENGTH, (rf"{_INPUT}|\btokens\b|\btoken (?:limit|count)", _EXCEEDS, _SIZE), (*_NOT_LENGTH, _OUTPUT),
          weak=True),
    _Rule(F.CONTEXT_LENGTH, (_INPUT, r"\btokens?\b|\blength\b", _BOUND), (*_NOT_LENGTH, _OUTPUT), weak=True),
    # The input together with the possible output.
    _Rule(F.CONTEXT_LENGTH, (r"\b(?:inputs?|prompts?|messages?|context)\W{1,3}(?:tokens?|length|limit)\b",
                             rf"{_EXCEEDS}|{_TOO_LONG}|{_BOUND}"), (_NUMBER_WANTED,), weak=True),
    _Rule(F.CONTEXT_LENGTH, (r"\b(?:reduce|shorten|truncate|trim)\b", r"\blength\b|\bsize\b|\btokens\b", _INPUT),
          _NOT_LENGTH, weak=True),
    _Rule(F.CONTEXT_LENGTH, (_INPUT, r"\bnot (?:\w+ )?fit\b", r"\bcontext\b|\bmodel\b|\bwindow\b"), _NOT_LENGTH),
    _Rule(F.CONTEXT_LENGTH, (r"上下文|输入|提示词|消息|内容|tokens?|长度", r"过长|太长|超过|超出|超限"), (r"输出",),
          weak=True),
    _Rule(F.CONTENT_FILTER, (_POLICY, _REFUSED)),
    _Rule(F.CONTENT_FILTER, (_SAID, _HARMFUL)),
    _Rule(F.CONTENT_FILTER, (_SAID, r"\bflagged\b|violat\w* (?:\S+ ){0,4}(?:polic|guideline|rules|terms)")),
    _Rule(F.CONTENT_FILTER, (
        r"\b(?:prompts?|responses?|outputs?|completion|answer) (?:was|were|is|has been|have been|got) (?:\w+ )?"
        r"(?:blocked|flagged|filtered|censored)\b",
    )),
    _Rule(F.CONTENT_FILTER, (r"违规|不合规|敏感内容|敏感词|内容安全|不安全|内容.{0,10}(?:风险|敏感|违反)",)),
    _Rule(F.QUOTA, (_ALLOWANCE, _USED_UP), (_PATH, r"\bmetadata\b|\bcharacters\b"), weak=True),
    _Rule(F.QUOTA, (r"\bbudget\b", r"exceed|\breached\b|exhaust|\bhit\b"), (r"\bthinking\b|\breasoning\b|\btokens?\b",),
          weak=True),
    _Rule(F.OVERLOADED, (
        r"\boverload|\b(?:at|over|no|not enough|insufficient|exceed\w*|limited|out of) (?:\w+ ){0,2}capacity\b"
        r"|\bcapacity (?:is )?(?:exceeded|reached|exhausted|constraint)|\bbusy\b|\bhigh (?:demand|load|traffic)\b"
        r"|繁忙|过载|负载",
    ), (_THROTTLE,)),
    _Rule(F.OVERLOADED, (
        r"\b(?:temporar\w+|currently|momentarily) (?:\w+ )?(?:unavailable|not available|offline|down)\b"
        r"|\b(?:unavailable|not available) (?:at (?:the|this) (?:moment|time)|right now|temporarily)"
        r"|\bservice unavailable",
    ), (_FEATURE,)),
    _NO_SUCH_BACKEND,
    _Rule(F.MODEL_NOT_FOUND, (rf"{_MODEL}\W+(?:\S+ ){{0,9}}?{_ABSENT}",), (_FEATURE, _KEY)),
    _Rule(F.MODEL_NOT_FOUND, (
        r"\bmodels?\b",
        r"\bmust be verified\b|\brequires? (?:\w+ ){0,2}(?:verif\w+|acceptance|approval|agreement|permission|access)\b",
    ), (_FEATURE,)),
    _Rule(F.MODEL_NOT_FOUND, (_WRONG_MODEL,)),
    _Rule(F.MODEL_NOT_FOUND, (
        r"\b(?:not|no longer) (?:\w+ )?(?:support|serve|offer|host|provide) (?:the |this |that )?models?\b"
        r"(?! (?:param|option|feature))|\bno models? (?:named|called|with|matching|found)\b"
        r"|\b(?:not|unable to|failed to) (?:find|locate|load|access|resolve) (?:\S+ ){0,4}?models?\b"
        r"|\bnot (?:available|enabled|included|supported) (?:for|on|in|to|with) your (?:\S+ )?"
        r"(?:account|organi[sz]ation|plan|tier|subscription|project|team)\b",
    ), (_FEATURE,)),
    _Rule(F.MODEL_NOT_FOUND, (
        r"\b(?:access|permission|authori[sz]ed|entitled|subscribed|allowed|enabled|permitted)\b (?:\S+ ){0,4}models?\b"
        r"|\bmodel access\b",
        r"\bnot?\b|\bwithout\b|\bdenied\b|\black|\bunable\b",
    ), (_FEATURE,)),
    _Rule(F.MODEL_NOT_FOUND, (
        r"\bsupported (?:\w+ )?models?(?: names?)? (?:are|is)\b"
        r"|\bno (?:\w+ ){0,2}(?:endpoint|channel|provider|deployment|instance|worker|backend|route)s?\b.*\bmodel\b"
        r"|\bno models? (?:is |are )?loaded\b",
    ), (_THROTTLE, _FEATURE)),
    _Rule(F.MODEL_NOT_FOUND, (
        r"模型.{0,60}(?:不存在|未找到|找不到|已下线|下架|已弃用|未开通|无可用|不可用|无权)|(?:不支持|无效|未知|找不到|没有|无权)[的该此访问使用]{0,4}模型",
    )),
    _Rule(F.AUTH, (_KEY, _KEY_REFUSED), (_PATH,)),
    _Rule(F.AUTH, (r"\bkey\b", r"\brevoked\b|\bdeactivated\b|\bleaked\b"), (_PATH,)),
    _Rule(F.AUTH, (
        r"\b(?:invalid|expired|incorrect|revoked|wrong) (?:\w+ )?token\b(?! (?:id|in|at|limit|count|budget)\b)"
        r"|\btoken (?:is |has |was )?(?:been )?(?:invalid|expired|revoked|not valid)\b"
        r"|令牌.{0,6}(?:无效|过期|不可用)|无效的?令牌",
    ), (_NOT_CREDENTIAL, _PATH)),
    _Rule(F.AUTH, (
        r"\b(?:account|organi[sz]ation|workspace)\b",
        r"suspended|deactivated|\brestricted\b|\bdisabled\b|\bbanned\b|\bblocked\b|\bterminated\b",
    ), (_PATH,)),
    _Rule(F.AUTH, (
        r"\bpermission[ _]denied\b|\bunauthori[sz]ed\b|\baccess (?:is )?(?:forbidden|denied)\b"
        r"|\binsufficient permission|\bnot authori[sz]ed\b",
    ), (_FEATURE,)),
    _Rule(F.AUTH, (_PLACE, r"\bnot (?:\w+ )?(?:supported|available|allowed|permitted|served|offered)\b|\bunsupported\b"
                   r"|\bunavailable\b|\brestricted\b|\bblocked\b|\bprohibited\b"), (_FEATURE,)),
    _Rule(F.AUTH, (
        r"(?:认证|鉴权|身份验证).{0,6}(?:失败|错误)|(?:用户|账号|账户).{0,4}(?:封禁|禁用)|\blog ?in (?:has )?fail"
        r"|\bnot logged in\b",
    )),
    _Rule(F.RATE_LIMIT, (
        r"\brate[ _-]?limit\w*|\brequest limit|\b(?:qps|rpm|tpm)\b"
        r"|\b(?:requests?|tokens?|calls) per (?:sec|min|hour|day)",
        r"exceed|reach|\bhit\b|\blimited\b|\berror\b|\bover\b",
    )),
    _Rule(F.RATE_LIMIT, (r"\btoo many requests\b|\bthrottl(?:ed|ing)|\bslow down\b|频繁|限流|速率限制",)),
    _NO_SUCH_CONTENT,
    # A gateway may say with 400 that what is behind it failed. Whether that refused the request, other words tell.
    _Rule(F.PROVIDER_ERROR, (
        r"\binternal (?:server )?error\b(?! code)|\bbad gateway\b|\bgateway time-?out\b"
        r"|\b(?:upstream|backend)\b (?:\w+ ){0,3}"
        r"(?:time-?out|timed out|unreachable|unavailable|disconnected|reset|closed|crashed)\b",
    ), (r"\binvalid\b|\bmust\b|\bshould\b|\bparam|\bfields?\b|\brequired\b|\bnot supported\b|\bunsupported\b",)),
)  # fmt: skip


def failure_in_words(
    text: str, kinds: Collection[FailureType] | None = None, *, throttled: bool = False
) -> FailureType | None:
    """Return what failed according to `text`, one or more sentences; None if it does not say.

    Args:
        text: What the vendor says.
        kinds: Only look for these. Default: all.
        throttled: Whether the vendor is known to ask only for a short wait.
    """
    for passage in _passages(text[:_READ]):
        plain = _plain(passage)
        sentences = _sentences(plain)
        is_throttled = throttled or speaks_of_throttling(plain)
        for rule in _RULES:
            if (kinds is not None and rule.kind not in kinds) or (rule.weak and is_throttled):
                continue
            if any(_holds(rule, sentence) for sentence in sentences):
                return rule.kind
    return None


def speaks_of_model(text: str) -> bool:
    """Whether `text`, about a refused request, says that the model accepts no tools, pictures or the like."""
    sentences = [one for passage in _passages(text[:_READ]) for one in _sentences(_plain(passage))]
    return any(_holds(rule, one) for rule in (_NO_SUCH_BACKEND, _NO_SUCH_CONTENT) for one in sentences)


def _sentences(plain: str) -> list[str]:
    return [one for one in _SENTENCE_END.split(plain) if one and not one.startswith("if ")]


def speaks_of_throttling(text: str) -> bool:
    """Whether `text` mentions a limit per minute, a short wait or the like."""
    return _compiled(_THROTTLE).search(text[:_READ].lower()) is not None


def code_words(code: str) -> str:
    """Return the words of a code in lower case: ``model not found`` for `modelNotFound` and `model_not-found`."""
    return " ".join(re.split(r"[^a-z0-9]+", _CASE_CHANGE.sub(" ", code[:200]).lower())).strip()


_SENTENCE_END = re.compile(r"[.!?;]\s+|[。！？；\n]|\.$")
_CAPITALS = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")
_CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_QUOTED = re.compile(r"(?<![\w])(['\"])[^'\"]*\s[^'\"]*\1(?!\w)")
_PASSED_ON = re.compile(r"(?:message|msg|detail|error|reason)['\"]?\s*[:=]\s*(['\"])((?:(?!\1).)*)")
_NAMED_MODEL = re.compile(
    r"(\bmodels?:? |\bmodel=)['\"`]?[^'\"`\s]*[-/\d][^'\"`\s,;]*['\"`]?|(\bmodels? )['\"`][^'\"`\s]+['\"`]"
)
_PUNCTUATION = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\t": " ", "\r": " "})
_ADVICE = re.compile(r"\b(?:please )?(?:check|see|review|visit|consult|refer to) (?:your|the|our|that|quota)\b[^.;()]*")
_NOT = ((re.compile(r"\bcannot\b|\bcan't\b"), "can not"), (re.compile(r"n't\b"), " not"))


def _passages(text: str) -> Iterator[str]:
    """Yield what a gateway quotes from the vendor behind it, then the whole text."""
    text = text.translate(_PUNCTUATION)
    for found in _PASSED_ON.finditer(text):
        if " " in found[2]:
            yield found[2]
    yield text


def _plain(text: str) -> str:
    """Return `text` in a form that is easy to search: lower case, "not" spelled out, no quotations, advice and
    names."""
    text = _CAPITALS.sub(lambda code: code[0].replace("_", " "), _CASE_CHANGE.sub(" ", text))
    unquoted = _QUOTED.sub("''", text)
    # A text that is almost all quotation does not count as one.
    text = (unquoted if len(unquoted.split()) > 3 else text).lower()
    for pattern, plain in _NOT:
        text = pattern.sub(plain, text)
    return _NAMED_MODEL.sub(lambda found: f"{found[1] or found[2]}x", _ADVICE.sub("", text)).strip()


def _holds(rule: _Rule, sentence: str) -> bool:
    return all(_compiled(one).search(sentence) for one in rule.words) and not any(
        _compiled(one).search(sentence) for one in rule.unless
    )


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile on first use: most programs never read an error."""
    return re.compile(pattern)
