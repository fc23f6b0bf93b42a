from concurrent.futures import ThreadPoolExecutor

from hrlaif.verifiers.quantity import Match
from hrlaif.verifiers.solver import Pool, Solver

# Neither has a closed form that SymPy finds soon: it works on them for minutes.
SLOW = r"\int_0^1 \sin(x^{x^x}) e^{x^{5}} dx"


def test_a_comparison_over_its_limit_loses_its_worker_and_the_next_one_gets_another() -> None:
    solver = Solver(limit_s=0.2)
    try:
        assert solver.relate("x", SLOW) is Match.UNKNOWN
        assert solver.relate(r"2\sqrt{3}", r"\sqrt{12}") is Match.SAME
    finally:
        solver.close()


def test_a_closed_solver_starts_again_when_asked() -> None:
    solver = Solver()
    try:
        assert solver.relate(r"\sqrt{4}", "2") is Match.SAME
        solver.close()
        assert solver.relate(r"\sqrt{9}", "3") is Match.SAME
    finally:
        solver.close()


def test_threads_share_one_solver_without_mixing_answers() -> None:
    solver = Solver()
    pairs = [(rf"\sqrt{{{n * n}}}", str(n if n % 2 else n + 1)) for n in range(1, 9)]
    try:
        with ThreadPoolExecutor(4) as threads:
            matches = list(threads.map(lambda pair: solver.relate(*pair), pairs))
    finally:
        solver.close()
    assert matches == [Match.SAME, Match.DIFFERENT] * 4


def test_a_pool_gives_every_task_a_solver_of_its_own() -> None:
    with Pool(2) as pool:
        tasks = [pool.submit(lambda left, right, relate: relate(left, right), r"\sqrt{4}", str(n)) for n in (1, 2, 3)]
        assert [task.result() for task in tasks] == [Match.DIFFERENT, Match.SAME, Match.DIFFERENT]
