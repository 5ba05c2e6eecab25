"""The protocol of lmms-eval's SLAKE (EvolvingLMMs-Lab/lmms-eval 75571cf, `lmms_eval/tasks/slake/utils.py`).

Accuracy of open and closed answers: both texts, normalised, are equal. It has no VQA-RAD and no PathVQA.
"""

import re
import string
from functools import lru_cache

_PARENTHESES, _WIDE_PARENTHESES = re.compile(r"\([^)]*\)"), re.compile(r"（[^）]*）")
_CHINESE_MARKS = "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～、《》【】"
_TO_SPACES = str.maketrans(dict.fromkeys(string.punctuation + _CHINESE_MARKS, " "))
_YES = frozenset({"yes", "yeah", "yep", "true", "是", "是的", "有", "包含", "可以", "能", "会", "正常"})
_NO = frozenset(
    {"no", "nope", "false", "否", "不是", "没有", "无", "不包含", "不能", "不会", "不可以", "不正常", "异常"}
)


@lru_cache(maxsize=65_536)
def normalised(text: str) -> str:
    """Lower case without parentheses and what they hold, punctuation as spaces; words for yes and no are these two."""
    outside = _WIDE_PARENTHESES.sub(" ", _PARENTHESES.sub(" ", text.strip().lower()))
    plain = " ".join(outside.translate(_TO_SPACES).split())
    if plain == "x ray":
        return "xray"
    return "yes" if plain in _YES else "no" if plain in _NO else plain


def right(reference: str, answer: str) -> float:
    """1 where the normalised texts are equal, else 0."""
    return float(normalised(reference) == normalised(answer))
