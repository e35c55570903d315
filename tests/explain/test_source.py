"""Functions of a script: the program gives what they give now, or it is a stub that says why.

Each script defines `f`, of one whole number. It is run, says what `f` gives, and writes the program
for `f`, which is run too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ASKING = """
if __name__ == "__main__":
    import json as _json
    from poolwise.explain.as_code import as_code as _as_code
    from poolwise.plan import Plan as _Plan
    _program = _as_code(_Plan.parse("process:2x2"), f)
    print(_json.dumps([[repr(f(x)) for x in range(4)], _program]))
"""

DECORATOR = """
def plus(n):
    def deco(func):
        def inner(x):
            return func(x) + n
        return inner
    return deco
"""

WRAPPING = """
import functools
def plus(n):
    def deco(func):
        @functools.wraps(func)
        def inner(x):
            return func(x) + n, func.__name__
        return inner
    return deco
"""

SAME = {
    "a decorator that does not say what it wraps": DECORATOR + "@plus(7)\ndef f(x): return x",
    "the same for a helper": DECORATOR
    + "@plus(7)\ndef helper(x): return x\ndef f(x): return helper(x) * 2",
    "a decorator that says what it wraps": WRAPPING + "@plus(7)\ndef f(x): return x",
    "a decorated function that calls itself": WRAPPING
    + "@plus(7)\ndef f(x): return f(x - 1)[0] if x > 0 else 1",
    "a decorator whose number has changed since": "N = 1\n"
    + WRAPPING
    + "@plus(N)\ndef f(x): return x\nN = 50",
    "a decorated helper beside one that is not": DECORATOR
    + "def one(x): return x\ntwo = plus(3)(one)\ndef f(x): return one(x), two(x)",
    "a decorator that registers": "seen = []\ndef register(f):\n    seen.append(f)\n    return f\n"
    "@register\ndef f(x): return x + 1",
    "an undecorated function": WRAPPING + "@plus(7)\ndef g(x): return x\nf = g.__wrapped__",
    "a default whose variable has changed since": "N = 1\ndef f(x, y=N): return x + y\nN = 50",
    "a default of a loop": "fs = []\nfor k in range(3):\n    fs.append(lambda x, k=k: x * 10 + k)\n"
    "f = fs[1]",
    "defaults by name only": "N = 1\ndef f(x, *, y=N, z=None): return x + y, z\nN = 50",
    "several defaults in a line": "N, M = 1, 2\n"
    "def f(x, y=N, z=[M, M], w=(M)): return x + y, z, w\n"
    "N, M = 5, 6",
    "a default over several lines": "N = 1\ndef f(x, y=[\n    N,\n    'ä', N + 1,\n], z=N): "
    "return x, y, z\nN = 3",
    "a default that is a function": "import math\ndef g(x): return -x\n"
    "def f(x, one=math.sqrt, other=g): return one(x), other(x)",
    "replaced defaults": "def f(x, y=1): return x + y\nf.__defaults__ = (9,)",
    "a default of a helper": "N = 1\ndef g(x, y=N): return x + y\nN = 50\n"
    "def f(x): return g(x) + N",
    "a default that was changed": "def g(x, seen=[]):\n    seen.append(x)\n    return len(seen)\n"
    "g(1)\ndef f(x, g=3): return x + g\n",
    "a closure over one made alike": "def make(n):\n    def h(x): return x * n\n    return h\n"
    "h1 = make(2)\ndef f(x): return h1(x)",
    "a name that is local in an inner function": "n = 5\ndef f(x):\n    def inner():\n"
    "        n = 1\n"
    "        return n\n    return inner() + n + x",
    "a string over several lines": "def make():\n    def f(x):\n        return '''\n        a\n"
    "          b''', x\n    return f\nf = make()",
    "two lambdas in a line": "fs = [lambda x: x + 1, lambda x: x + 2]; f = fs[1]",
    "a lambda in a lambda": "make = lambda n: lambda x: x + n\nf = make(5)",
    "lambdas with constants that are equal": "fs = [lambda x: 1, lambda x: 1.0, lambda x: True]\n"
    "f = fs[1]",
    "a conditional definition": "import sys\nif sys.platform:\n    def f(x): return x + 1\n"
    "else:\n    def f(x): return x + 2",
    "a conditional definition of one name on two paths": "for n in (1, 2):\n    if n == 1:\n"
    "        def f(x): return x + 1\n        g = f\n    else:\n"
    "        def f(x): return x + 2\nf = g",
    "sys": "import sys\ndef f(x): return sys.maxsize + x",
    "sys as something else": "sys = 3\ndef f(x): return x + sys",
    "sys and what the program renames": "run = 3\nrun_ = 4\nimport sys\n"
    "def f(x): return x + run + run_, sys.maxsize",
    "an executor": "from concurrent.futures import ThreadPoolExecutor\n"
    "def f(x):\n    with ThreadPoolExecutor(1) as pool: return pool.submit(abs, -x).result()",
    "what is called like an executor": "def ThreadPoolExecutor(x): return x\n"
    "def f(x): return ThreadPoolExecutor(x)",
    "imported under another name": "from math import sqrt as root, pi as π\nimport os.path as op\n"
    "def f(x): return root(x), π, op.join('a', str(x))",
    "a star import": "from math import *\ndef f(x): return sin(x) + pi",
    "a module of a package": "import xml.etree.ElementTree\nimport concurrent.futures\n"
    "def f(x): return xml.etree.ElementTree.fromstring(f'<a>{x}</a>').text",
    "a class": "class Base:\n    rate = 2\n    def __init__(self, n): self.n = n\n"
    "    @property\n    def twice(self): return self.n * self.rate\n"
    "    @twice.setter\n    def twice(self, n): self.n = n\n"
    "    @classmethod\n    def make(cls, n): return cls(n)\n"
    "    @staticmethod\n    def add(n): return n + 1\n"
    "    def __eq__(self, other): return True\n    def __secret(self): return 3\n"
    "    def open(self): return self.__secret()\n"
    "class Derived(Base):\n    def open(self): return super().open() + 1\n"
    "def f(x):\n    d = Derived.make(x)\n    d.twice = 5\n"
    "    return d.twice, Base.add(x), d.open()",
    "an attribute of a class that has changed": "class Base:\n    rate = 2\n"
    "def f(x): return Base.rate * x\nBase.rate = 5",
    "an attribute that was computed": "N = 2\nclass Base:\n    rate = N * 2\n"
    "def f(x): return Base.rate * x\nN = 7",
    "a dataclass": "from dataclasses import dataclass, field\nN = 4\n@dataclass(order=True)\n"
    "class Point:\n    x: int\n    y: int = N\n    z: list = field(default_factory=list)\n"
    "    w: int = field(default=2, repr=False)\n    def norm(self): return self.x + self.y\nN = 9\n"
    "def f(x): return Point(x), Point(x).norm(), Point(x) < Point(1)",
    "a dataclass with slots": "from dataclasses import dataclass\n"
    "@dataclass(frozen=True, slots=True)\n"
    "class Point:\n    x: int\n    y: int = 3\ndef f(x): return Point(x), hash(Point(x))",
    "a class with slots": "class P:\n    __slots__ = ('x', '__y')\n"
    "    def __init__(self, x): self.x = x\ndef f(x): return P(x).x",
    "an enumeration": "import enum\nclass Color(enum.Enum):\n    RED = 1\n    BLUE = enum.auto()\n"
    "    def up(self): return self.value + 1\n"
    "def f(x): return Color.BLUE.up() + x, Color(1).name",
    "a named tuple": "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n"
    "    y: int = 3\n"
    "    def both(self): return self.x + self.y\ndef f(x): return P(x), P(x).both()",
    "an exception": "class Wrong(Exception):\n    '''Says so.'''\ndef f(x):\n"
    "    try: raise Wrong(x)\n"
    "    except Wrong as error: return str(error)",
    "classes that need each other": "class A:\n    def other(self): return B()\n"
    "class B(A):\n    n = 4\ndef f(x): return A().other().n + x",
    "an abstract class": "import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n"
    "    def go(self, x): ...\nclass B(A):\n    def go(self, x): return x + 1\n"
    "def f(x): return B().go(x)",
    "a class method": "class A:\n    n = 3\n    @classmethod\n"
    "    def make(cls, x): return cls.n + x\n"
    "f = A.make",
    "a class as the function": "class A:\n    def __init__(self, x): self.x = x\n"
    "    def __repr__(self): return f'A({self.x})'\nf = A",
    "a static method": "class A:\n    @staticmethod\n    def make(x): return x\nf = A.make",
    "a cache": "from functools import lru_cache, cache\n@lru_cache(maxsize=3)\n"
    "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\ndef f(x): return fib(x + 20)",
    "a cache as the function": "import functools\n@functools.cache\ndef f(n): return n + 2",
    "a partial": "from functools import partial\ndef add(x, y): return x + y\n"
    "add5 = partial(add, y=5)\ndef f(x): return add5(x)",
    "an async helper": "import asyncio\nasync def slow(x):\n    await asyncio.sleep(0)\n"
    "    return x + 1\ndef f(x): return asyncio.run(slow(x))",
    "annotations that nothing evaluates": "from __future__ import annotations\n"
    "def f(x: Nothing[list[int]] = 1, *more: Gone) -> Other:\n    y: Also = x\n    return y",
    "one list of two names": "a = [1]\nb = a\ndef f(x):\n    b.append(x)\n    del b[1:]\n"
    "    return a is b, len(a)",
    "the file of the script": "def f(x): return __file__",
    "its name": "def f(x): return __name__, f'{__name__}', abs.__name__",
    "its name in a class": "class A:\n    def go(self): return __name__, __file__[-1]\n"
    "def f(x): return A().go()",
    "attributes of the function": "def f(x):\n    return f.times * x\nf.times = 3",
    "a generator": "def g(n):\n    yield from range(n)\ndef f(x): return list(g(x))",
    "a class in a function": "def f(x):\n    class A:\n        n = x\n    return A.n",
    "two functions of one name": "def make(n):\n    def h(x): return x * n\n    return h\n"
    "h1, h2 = make(1), make(2)\ndef f(x): return h1(x) + h2(x)",
    "a global and a variable around it": ""
    "rate = 2\ndef helper(x): return x * rate\ndef make(rate):\n"
    "    def f(x): return f'{rate}', [rate for _ in range(helper(x))]\n"
    "    return f\nf = make(10)",
    "one decorator for two helpers": "def twice(func):\n    def inner(x): return func(x) * 2\n"
    "    return inner\n@twice\ndef g(x): return x + 1\n@twice\n@twice\n"
    "def h(x): return x + 2\ndef f(x): return g(x) + h(x)",
    "a context manager": "from contextlib import contextmanager\n@contextmanager\ndef opened(x):\n"
    "    yield x + 1\ndef f(x):\n    with opened(x) as y: return y",
    "a method of an object of a module": ""
    "from random import randint as draw\ndef f(x): return draw(x, x)",
    "variables that the program has and the script has not": ""
    "def f(x):\n    try: return bool(run) or bool(sys)\n"
    "    except NameError: return 'none'",
    "a module beside the script": "import pathlib, sys\n"
    "pathlib.Path(__file__).with_name('beside.py').write_text('K = 2')\n"
    "import beside\ndef f(x): return beside.K * x",
    "a module beside the script, imported in the call": "import pathlib, sys\n"
    "pathlib.Path(__file__).with_name('beside.py').write_text('K = 2')\n"
    "def f(x):\n    import beside\n    return beside.K * x",
}

STUBBED = {
    "a default that is no constant": (
        "class A:\n    def go(self, x): return x\ndef f(x, a=A()): return a.go(x)",
        "an object of type A: a",
    ),
    "a method that was replaced": (
        "class Base:\n    def go(self, x): return x\n"
        "def f(x): return Base().go(x)\nBase.go = lambda self, x: -x",
        "Base.go is not as its source defines it",
    ),
    "a method that was added": (
        "class Base:\n    def go(self, x): return x\n"
        "def f(x): return Base().go(x)\nBase.__len__ = lambda self: 3",
        "Base.__len__ is not as its source defines it",
    ),
    "a method that was replaced by one of the same name": (
        "class Base:\n    def go(self, x): return x\ndef go(self, x): return -x\n"
        "def f(x): return Base().go(x)\nBase.go = go",
        "Base.go is not as its source defines it",
    ),
    "a method of a dataclass that was replaced": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
        "def f(x): return repr(P(x))\nP.__repr__ = lambda self: '!'",
        "P.__repr__ is not as its source defines it",
    ),
    "a body of a class that runs code": (
        "N = 1\nclass Base:\n    if N:\n        n = 2\ndef f(x): return Base.n",
        "the body of the class Base runs code",
    ),
    "a class with a decorator": (
        "def deco(cls):\n    cls.n = 3\n    return cls\n@deco\nclass Base:\n    n = 2\n"
        "def f(x): return Base.n",
        "the class Base has a decorator",
    ),
    "a counter of the function around it": (
        "def make():\n    n = 0\n    def f(x):\n        nonlocal n\n        n += 1\n"
        "        return n\n"
        "    return f\nf = make()",
        "cannot stand on its own",
    ),
    "a text of another type": (
        "class S(str):\n    def go(self): return self + '!'\ns = S('a')\ndef f(x): return s.go()",
        "an object of type S: s",
    ),
    "a replaced code": (
        "def f(x): return x\nexec('def g(x): return -x')\nf.__code__ = g.__code__",
        "no source",
    ),
    "a method that needs its class": (
        "class A:\n    def __init__(self): self.__n = 1\n    def go(x): return A().__n + x\n"
        "f = A.go",
        "needs the class that it belongs to",
    ),
    "an instance's method": (
        "class A:\n    def go(self, x): return x\nf = A().go",
        "an object of type method",
    ),
    "a dispatching function": (
        "import functools\n@functools.singledispatch\ndef g(x): return x\n"
        "@g.register\ndef _(x: int): return x + 1\ndef f(x): return g(x)",
        "wrapper",
    ),
    "a partial method": (
        "import functools\nclass A:\n    def go(self, y, x): return x + y\n"
        "    five = functools.partialmethod(go, 5)\ndef f(x): return A().five(x)",
        "an object of type partialmethod",
    ),
    "a registry that subclasses enter": (
        "class Base:\n    seen = []\n    def __init_subclass__(cls): Base.seen.append(cls)\n"
        "class A(Base): pass\ndef f(x): return len(Base.seen)",
        "an object of type list: seen",
    ),
    "a file that has changed": (
        "def f(x): return x\nimport pathlib\n"
        "text = pathlib.Path(__file__).read_text()\n"
        "pathlib.Path(__file__).write_text(text.replace('return x', 'return 2', 1))",
        "has changed",
    ),
    "one list in two": (
        "a = [1]\nb = [a]\ndef f(x):\n    a.append(x)\n    return len(b[0])",
        "stands in several places",
    ),
    "any variable": (
        "K = 3\ndef f(x): return globals().get('K', 0) + x",
        "any variable by globals()",
    ),
    "the script as a module": (
        "import sys\nK = 3\ndef f(x): return getattr(sys.modules['__main__'], 'K', 0)",
        "mentions the name of the script",
    ),
    "an import of the script": (
        "K = 3\ndef f(x):\n    import __main__\n    return getattr(__main__, 'K', 0)",
        "imports the script",
    ),
    "a docstring that was replaced": (
        "def f(x):\n    '''hi'''\n    return f.__doc__\nf.__doc__ = 'new'",
        "__doc__ of something",
    ),
    "a name that it has not in the program": (
        "def make():\n    def g(x): return g.__qualname__\n    return g\nf = make()",
        "__qualname__ of something",
    ),
    "a function of a module that was replaced": (
        "import math\nmath.sqrt = lambda x: x\ndef f(x): return math.sqrt(x)",
        "the script has replaced math.sqrt",
    ),
    "annotations that were changed": (
        "class A:\n    x: int\nA.__annotations__['y'] = str\n"
        "def f(x): return list(A.__annotations__)",
        "not as its source",
    ),
    "a hash that was replaced": (
        "class A: pass\nA.__hash__ = lambda self: 5\ndef f(x): return hash(A())",
        "A.__hash__ is not as",
    ),
    "match arguments that were replaced": (
        "class A:\n    __match_args__ = ('x',)\n"
        "A.__match_args__ = (x for x in 'y')\ndef f(x): return A()",
        "an object of type generator",
    ),
    "bases that were replaced": (
        "class A: n = 1\nclass B: n = 2\nclass C(A): pass\nC.__bases__ = (B,)\n"
        "def f(x): return C.n",
        "the bases of C",
    ),
    "the code of a method that was replaced": (
        "class A:\n    def g(self): return 1\n    def h(self): return 2\n"
        "A.g.__code__ = A.h.__code__\ndef f(x): return A().g()",
        "A.g is not as",
    ),
    "a class that was defined again": (
        "class A: n = 1\nB = A\nclass A: n = 2\ndef f(x): return B.n, A.n",
        "defines the class A 2 times",
    ),
    "one list in a default and elsewhere": (
        "def g(a=[]): return a\nG = g()\ndef f(x): return g() is G",
        "stands in several places",
    ),
    "one list in a class and elsewhere": (
        "class A:\n    L = [1]\nG = A.L\ndef f(x): return A.L is G",
        "stands in several places",
    ),
    "one list in a partial and elsewhere": (
        "import functools\nL = [1]\ndef g(a, x): return a is L\n"
        "p = functools.partial(g, L)\ndef f(x): return p(x)",
        "stands in several places",
    ),
    "methods of a dataclass that changed places": (
        "from dataclasses import dataclass\n@dataclass(order=True)\nclass P:\n"
        "    a: int\nP.__lt__, P.__gt__ = P.__gt__, P.__lt__\n"
        "def f(x): return P(1) < P(2)",
        "P.__lt__ is not as",
    ),
    "a function that was put into a class": (
        "import json\nclass A:\n    def go(self): return 1\n"
        "A.dumps = staticmethod(json.dumps)\n"
        "def f(x): return hasattr(A, 'dumps')",
        "A.dumps is not as",
    ),
    "a wrapper that was renamed": (
        "import functools\ndef d(fn):\n    @functools.wraps(fn)\n"
        "    def w(x): return fn(x), w.__name__\n    return w\n@d\ndef g(x): return x\n"
        "g.__name__ = 'new'\nf = g",
        "__name__ of something",
    ),
    "subclasses that it does not name": (
        "class A: pass\nclass B(A): pass\ndef f(x): return len(A.__subclasses__())",
        "__subclasses__",
    ),
}


def _run(file: Path, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(file), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert run.returncode == 0, f"{file.read_text()}\n{run.stderr}"
    return run.stdout


def _asked(script: str, folder: Path) -> tuple[list[str], str]:
    file = folder / "script.py"
    file.write_text(f"{script}\n{_ASKING}")
    results, program = json.loads(_run(file))
    return results, program


@pytest.mark.parametrize("what", SAME)
def test_the_program_gives_what_the_function_gives(what: str, tmp_path: Path) -> None:
    results, program = _asked(SAME[what], tmp_path)
    assert "NotImplementedError" not in program, program
    file = tmp_path / "elsewhere" / "program.py"
    file.parent.mkdir()
    file.write_text(
        re.sub(r"sys_*\.argv\[1:\]", "range(4)", program).replace(
            "print(result)", "print(repr(result))"
        )
    )
    assert _run(file).splitlines() == results, program


@pytest.mark.parametrize("what", STUBBED)
def test_what_cannot_be_said_is_a_stub_with_the_reason(what: str, tmp_path: Path) -> None:
    script, reason = STUBBED[what]
    _, program = _asked(script, tmp_path)
    assert "raise NotImplementedError" in program, program
    assert reason in program
