"""What figures and their keys are called, for claims and for tables."""

from __future__ import annotations

from poolwise.machine.claims.text import Text
from poolwise.units import plural, size

#: Why a figure is missing where nobody said why.
DIMENSION_MISSING = "this dimension was not measured"
FIGURE_MISSING = "this was not measured"

#: What measurements say most often; of the rest, and of the system, the words stay as they are.
GAPS = {
    DIMENSION_MISSING: "未测量这一维度",
    FIGURE_MISSING: "未测量",
    "the standard library has interpreters from Python 3.14 on": "Python 3.14 起才有子解释器",
    "other work kept the worker from its turns": "其他工作占用了 CPU，轮不到它运行",
    "there was no reading": "没有读数",
    "the kernel does not let a process be traced here": "此处内核不允许跟踪进程",
    "the system does not say": "系统未提供",
}

#: Fields of the dimension records. A label follows the keys: "thread: memory private to it".
FIELDS = {
    "isolation.write_seen": Text("a write to a global is seen by the caller", "调用者看得到其写入"),
    "isolation.sibling_write_seen": Text(
        "a write to a global is seen by another one", "同类的另一个看得到其写入"
    ),
    "isolation.same_pid": Text("same process id as the caller", "与调用者进程号相同"),
    "isolation.same_interpreter": Text("same interpreter as the caller", "与调用者同一个解释器"),
    "isolation.same_gil": Text("same GIL as the caller", "与调用者同一把 GIL"),
    "isolation.same_code": Text("same code objects as the caller", "代码对象的地址与调用者相同"),
    "isolation.own_stack": Text("a stack of its own", "有自己的栈"),
    "isolation.own_descriptors": Text("file descriptors of its own", "有自己的文件描述符"),
    "isolation.own_directory": Text("a working directory of its own", "有自己的工作目录"),
    "isolation.own_environment": Text("environment variables of its own", "有自己的环境变量"),
    "isolation.own_limits": Text("resource limits of its own", "有自己的资源限制"),
    "isolation.kernel_task": Text("scheduled as a task by the kernel", "由内核作为任务调度"),
    "isolation.cpus_seen": Text("CPUs on which two ran at once", "两个同时运行时所在的 CPU 数"),
    "isolation.survives_crash": Text("the caller outlives a crash in it", "其崩溃后调用者仍存活"),
    "isolation.segments": Text("in the kernel's map of this process", "在本进程的内存映射中"),
    "resources.create": Text("to create", "创建"),
    "resources.destroy": Text("to destroy", "销毁"),
    "resources.create_and_join": Text("to create and join", "创建并等待结束"),
    "resources.page_faults": Text("page faults to create and join", "创建并结束时的缺页次数"),
    "resources.page_tables": Text("page tables for one more", "每增加一个所占的页表"),
    "resources.rss": Text("resident memory when idle (RSS)", "空闲时的常驻内存（RSS）"),
    "resources.uss": Text("memory private to it (USS)", "独占内存（USS）"),
    "resources.pss": Text("its share of memory (PSS)", "分摊内存（PSS）"),
    "resources.switch": Text("a switch, on one CPU", "一次切换（同一个 CPU）"),
    "resources.voluntary_switches": Text("voluntary switches a round", "每轮主动切换次数"),
    "resources.involuntary_switches": Text("involuntary switches a second", "每秒被动切换次数"),
    "resources.short_tasks": Text(
        "tasks a second, one made for each", "每秒任务数（每个任务新建一个）"
    ),
    "resources.dispatch": Text("to send a batch and hear of it", "发送一批任务并得到回复"),
    "resources.call_overhead": Text(
        "what a worker adds to each call", "每次调用在工作线程或进程中的额外开销"
    ),
    "communication.latency": Text("one way, on one CPU", "单程延迟（同一个 CPU）"),
    "communication.throughput": Text("throughput, on one CPU", "吞吐量（同一个 CPU）"),
    "communication.carries": Text("a message arrived whole", "消息完整到达"),
    "communication.lines": Text("lines of the shortest program", "最短程序的行数"),
    "communication.system_calls": Text("system calls a message", "每条消息的系统调用数"),
    "communication.objects": Text("kernel objects needed", "所需内核对象数"),
    "communication.lock": Text("acquire and release", "加锁并释放"),
    "communication.contended": Text("acquire and release, contended", "有竞争时加锁并释放"),
    "communication.rlock_reentered": Text(
        "RLock: taken again by its owner", "RLock：持有者可再次获取"
    ),
    "communication.lost_plain": Text(
        "updates lost by `n += 1` without a lock", "不加锁执行 `n += 1` 丢失的更新"
    ),
    "communication.lost_with_call": Text(
        "updates lost with a call between read and write", "读写之间有函数调用时丢失的更新"
    ),
    "communication.lost_with_lock": Text("updates lost under a lock", "加锁时丢失的更新"),
    "concurrency.speedup": Text("speedup", "加速比"),
    "concurrency.bytecode_at_once": Text(
        "CPU time per wall time of two that compute", "两个计算任务的 CPU 时间与实际时间之比"
    ),
    "concurrency.cpus_at_once": Text(
        "CPUs that two computing ones ran on", "两个计算任务所在的 CPU 数"
    ),
    "concurrency.heartbeat": Text("delay of a tick beside this thread", "旁边有此线程时心跳的延迟"),
    "concurrency.heartbeat_process": Text(
        "delay of a tick beside this process", "旁边有此进程时心跳的延迟"
    ),
    "concurrency.switch_interval": Text("wait for a GIL that is held", "等待被占用的 GIL 的时间"),
    "concurrency.neighbour": Text(
        "time of work beside such a process, against alone", "旁边有此进程时与单独运行的时间之比"
    ),
    "suitability.makespan": Text("makespan", "总耗时"),
}

#: What the keys of these fields are called; what is not listed is called what it is.
KEYS = {
    "thread": Text("thread", "线程"),
    "process": Text("process", "进程"),
    "interpreter": Text("interpreter", "子解释器"),
    "server": Text("first of a forkserver", "forkserver 的首个进程"),
    "idle": Text("idle one", "空闲进程"),
    "pool 1": Text("pool of 1", "1 个进程的池"),
    "pool 2": Text("pool of 2", "2 个进程的池"),
    "code": Text("code", "代码"),
    "data": Text("data", "数据"),
    "stack": Text("stack", "栈"),
    "variable": Text("shared variable", "共享变量"),
    "shared memory": Text("shared memory", "共享内存"),
    "socket": Text("socket", "套接字"),
    "signal": Text("signal", "信号"),
    "Queue": Text("poolwise.Queue", "poolwise.Queue"),
    "Pipe": Text("poolwise.Pipe", "poolwise.Pipe"),
    "Lock thread": Text("threading.Lock", "threading.Lock"),
    "RLock thread": Text("threading.RLock", "threading.RLock"),
    "Lock process": Text("poolwise.Lock, processes", "poolwise.Lock（进程）"),
    "RLock process": Text("poolwise.RLock, processes", "poolwise.RLock（进程）"),
    "mp.Lock process": Text("mp.Lock, processes", "mp.Lock（进程）"),
    "mp.RLock process": Text("mp.RLock, processes", "mp.RLock（进程）"),
    "holds the GIL": Text("work that holds the GIL", "持有 GIL 的计算"),
    "releases the GIL": Text("work that releases the GIL", "释放 GIL 的计算"),
    "waits": Text("work that waits", "等待"),
    "memory bandwidth": Text("work bound by memory bandwidth", "受内存带宽限制的计算"),
    "waiting": Text("waiting", "等待中"),
    "computing": Text("computing", "计算中"),
    "memory": Text("using memory bandwidth", "占用内存带宽"),
    "scientific": Text("scientific computing", "科学计算"),
    "image": Text("image processing", "图像处理"),
    "network": Text("network", "网络"),
    "files cached": Text("files in the page cache", "页缓存中的文件"),
    "short tasks": Text("many short tasks", "大量短任务"),
    "pure python": Text("pure Python computing", "纯 Python 计算"),
    "C without GIL": Text("C code that releases the GIL", "释放 GIL 的 C 代码"),
    "loop": Text("loop", "循环"),
    # Headings of tables that are turned: a column for each field.
    "carries": Text("arrived whole", "完整到达"),
    "lines": Text("lines", "行数"),
    "system_calls": Text("system calls", "系统调用"),
    "objects": Text("kernel objects", "内核对象"),
    "lock": Text("acquire and release", "加锁并释放"),
    "contended": Text("contended", "有竞争时"),
    "efficiency": Text("efficiency, one a CPU", "效率（每个 CPU 一个）"),
}


def key_text(key: str | int, path: str = "") -> Text:
    """Return what a key is called; a number is one of bytes, or of workers for a speedup."""
    if isinstance(key, str):
        return KEYS.get(key, Text(key, key))
    if path.startswith("communication."):
        return Text(size(key), size(key))
    return Text(plural(key, "worker"), f"{key} 个")


def gap_text(why: str) -> Text:
    """Return why a figure is missing; what a measurement says of itself is in English."""
    return Text(why, GAPS.get(why, why))
