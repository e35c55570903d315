"""The words of a profile's text, in both languages."""

from __future__ import annotations

from poolwise.machine.claims import Kind, Language, Text

#: What a verdict is called.
VERDICTS: dict[Kind, Text] = {
    "holds": Text("holds", "成立"),
    "does_not_hold": Text("does not hold", "不成立"),
    "depends": Text("depends", "视情况而定"),
    "explained": Text("explained", "仅作解释"),
    "not_measured": Text("not measured", "未测量"),
}

#: The dimensions, by the section of the article that each belongs to.
SECTIONS = {
    0: Text("Opening", "引言"),
    1: Text("Definition: what is shared, what is not", "定义：共享什么，不共享什么"),
    2: Text("Resource cost", "资源占用"),
    3: Text("Communication", "通信方式"),
    4: Text("Concurrency", "并发性"),
    5: Text("Suitable work", "适用场景"),
    6: Text("Implementation in Python", "Python 中的实现"),
}

#: How the families of plans are called, and the letter of each in the map.
FAMILIES = {
    "loop": ("·", Text("a plain loop", "普通循环")),
    "threads": ("T", Text("threads", "线程")),
    "processes": ("P", Text("processes", "进程")),
    "both": ("X", Text("processes × threads", "进程 × 线程")),
}

COLON, COMMA, SEMICOLON = Text(": ", "："), Text(", ", "、"), Text("; ", "；")
ASIDE = Text(" ({said})", "（{said}）")
YES, NO = Text("yes", "是"), Text("no", "否")
HERE = Text("here", "本机")
CLAIMS = Text("The article's claims on this machine", "文章中的说法在本机是否成立")
NOT_MEASURED = Text("not measured", "未测量")
THROTTLED = Text(
    "! measured while a quota took CPU time away: durations are too long",
    "! 测量期间配额夺走了 CPU 时间：时长偏大",
)
BY_REFERENCE = Text(
    "within a process the object itself is passed on: none of these bytes is copied",
    "进程内传递的是对象本身：这些字节并未被复制",
)
MAP = Text(
    "Which plan wins for {tasks} tasks, by the cost model (nothing here was measured)",
    "{tasks} 个任务用哪种方案最好（由成本模型推算，非实测）",
)
RESTS = {
    "waits": Text("the rest of a task waits", "任务的其余时间在等待"),
    "computes": Text(
        "the rest computes in C without the GIL", "任务的其余时间在无 GIL 的 C 代码中计算"
    ),
}
GIL_SHARE = Text("GIL held", "持有 GIL")
MOVED = Text("moves {size}", "传输 {size}")
BEATS = Text(
    "{winner} beat {loser} from {length} a task", "任务达到 {length} 时，{winner}胜过{loser}"
)
BEATS_ALWAYS = Text("{winner} beat {loser} at every length", "无论任务多长，{winner}都胜过{loser}")
BEATS_NEVER = Text("{winner} never beat {loser}", "{winner}从不胜过{loser}")
EVIDENCE, RULE, VERDICT = Text("evidence", "依据"), Text("rule", "规则"), Text("verdict", "结论")
WHY, ARTICLE = Text("why", "原因"), Text("article", "原文")
CODE = Text(
    "poolwise measure --claim {id} --code prints a program that shows it, --run runs it",
    "poolwise measure --claim {id} --code 打印演示程序，--run 运行它",
)
READINGS = Text("{count} readings", "{count} 次读数")
MIDDLE_HALF = Text(
    "{count} readings, middle half {low} to {high}", "{count} 次读数，中间一半为 {low} 至 {high}"
)
CPUS = Text("{count} usable CPUs", "可用 CPU {count} 个")
GIL_ON, GIL_OFF = Text("GIL on", "GIL 开启"), Text("GIL off", "GIL 关闭")
CPU_LIMITS = {
    "affinity": Text("affinity", "CPU 亲和性"),
    "cgroup quota": Text("cgroup quota", "cgroup 配额"),
    "other workers": Text("other workers", "其他工作进程"),
}
FREE = Text("{size} free", "可用内存 {size}")
PROGRAM = Text("printed", "输出")
SAME = Text("same through Worker", "与 Worker 相同")
TOOK = Text("took", "耗时")


def language_of(locale_name: str | None) -> Language:
    """Return the language for a locale's name; English for every one that is not Chinese.

    >>> language_of("zh_CN.UTF-8"), language_of("de_DE.UTF-8"), language_of(None)
    ('zh', 'en', 'en')
    """
    name = (locale_name or "").lower()
    return "zh" if name.startswith(("zh", "chinese")) else "en"
