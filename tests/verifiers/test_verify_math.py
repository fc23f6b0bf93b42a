r"""Own cases for the MATH verifier; C, W, U are the outcomes that a careful human reader would give."""

import pytest

from hrlaif.types import Finish, Outcome
from hrlaif.verifiers.math import verify_math
from hrlaif.verifiers.reading import read_answer

C, W, U = Outcome.CORRECT, Outcome.WRONG, Outcome.UNREADABLE

ANNOUNCED = [
    ("12", r"Adding gives \boxed{12}.", C),
    ("12", r"Adding gives \boxed{ 12 }", C),
    ("12", r"First \boxed{5}, which we double and raise by two, so the total is \boxed{12}.", C),
    ("5", r"First \boxed{5}, which we double and raise by two, so the total is \boxed{12}.", W),
    ("12", r"$$\boxed{\boxed{12}}$$", C),
    (r"\frac{1}{2}", r"\[ \boxed{\dfrac{1}{2}} \]", C),
    ("12", "4 * 3 = 12\n#### 12", C),
    ("-12", "4 * -3 = -12\n#### -12", C),
    ("12", "#### Step 1\nWe add.\n#### Step 2\nThe total is 12.", C),
    ("12", "3*4=<<3*4=12>>12\nA: 12", C),
    ("12", "A: -12", W),
    ("-12", "A: -12", C),
    ("12", "Answer: 12", C),
    ("12", "**Answer:** 12 apples", C),
    ("12", "**Final Answer**\n\n12", C),
    ("12", "### Final Answer:\n$12$", C),
    ("12", "The answer is 12.", C),
    ("12", "So the answer is: **12**.", C),
    ("12", "The final answer is $12$. I hope it is correct.", C),
    ("12", "The correct answer to the problem is therefore 12 apples, because 3 * 4 = 12.", C),
    ("12", "The answer would be twelve.", C),
    ("12", "Therefore, 12 is the answer.", C),
    ("12", "We conclude that 12 is the final answer.", C),
    ("12", "The answer is $x = 12$.", C),
    ("12", "The final answer is: the largest $n$ is 12.", C),
    ("12", "The final answer is:\n\n\\[\n12\n\\]", C),
    ("12", "My answer: $\\boxed{12}$\n\nLet me know if you need 3 more examples!", C),
    ("13", "The answer is 12.", W),
    ("12", "The answer is 12. This uses 3 boxes of 4.", C),
    ("4", "The answer is 12. This uses 3 boxes of 4.", W),
    ("12", "The answer is not 10. The answer is 12.", C),
    ("10", "The answer is not 10.", U),
    ("12", "Suppose the answer is 12. Then we would need 40 boxes.", U),
    ("12", "What is the answer? Let me think about this for a while.", U),
    ("12", "The answer is correct.", U),
    ("12", "The answer is 10. Wait, I made a mistake: the answer is 12.", C),
    ("10", "The answer is 10. Wait, I made a mistake: the answer is 12.", W),
    ("10", "The answer is 10. Wait, that is wrong, since I forgot", U),
    ("12", "The answer is 10.\n\nActually, let me recheck. 3 * 4 = 12, so there are 12 apples.", C),
    ("12", "A: 12\nA: 13", U),
    ("12", "The answer is 12. The answer is 13.", U),
    ("12", r"\boxed{12} \boxed{13}", U),
    ("12", r"\boxed{12} or \boxed{13}", U),
    ("12", "The answer is 12 or 13.", U),
    ("12", "The answer is 12, that is, a dozen.", C),
    ("12", r"The answer is 12, so \boxed{12}.", C),
    ("0.5", r"\boxed{\frac{1}{2}} or \boxed{0.5}", C),
    ("12", "Human: what is it?", U),
    ("12", "The answer is 12.\n\nQuestion: What is 5 + 6?\nAnswer: The answer is 11.", C),
    ("11", "The answer is 12.\n\nQuestion: What is 5 + 6?\nAnswer: The answer is 11.", W),
    ("12", "<think>Maybe 10? The answer is 10.</think>The answer is 12.", C),
    ("10", "<think>Maybe 10? The answer is 10.", U),
    ("12", "The answer is 12.<|im_end|>\n<|im_start|>user\nThe answer is 7.", C),
]

CLOSING = [
    ("12", "12", C),
    ("12", "12 apples", C),
    ("12", "$12$", C),
    ("12", "She has 3 bags of 4 apples. So she has 12 apples.", C),
    ("12", "She has 3 bags of 4 apples. 3 * 4 = 12", C),
    ("12", "3 * 4 = 12. Therefore, Anna bought 12 apples in total.", C),
    ("13", "3 * 4 = 12. Therefore, Anna bought 12 apples in total.", W),
    ("12", "It is not 10 but 12.", C),
    ("10", "It is not 10 but 12.", W),
    ("12", "Therefore the length is\n\\[ 3 \\cdot 4 = 12. \\]", C),
    ("3", "Therefore 3 of the 12 apples are red.", U),
    ("12", "We could continue, but there are more cases to check.", U),
    ("5", "In the next step we divide both sides by 5 and by 7", U),
]

REFUSED = [
    ("12", "", U),
    ("12", "   \n ", U),
    ("12", "I cannot answer this question.", U),
    ("12", "I'm sorry, but I can't help with that.", U),
    ("12", "There is not enough information; the answer cannot be determined.", U),
    ("12", "The answer cannot be determined from the 12 values given.", U),
    ("12", "对不起,我无法回答这个问题。", U),
]

NUMBERS = [
    ("1000", "The answer is 1,000.", C),
    ("1,000", "The answer is 1000.", C),
    ("10{,}000", r"\boxed{10000}", C),
    (r"12,\!345", r"\boxed{12345}", C),
    ("1000000", "The answer is 1 000 000.", C),
    ("1000000", "The answer is 1 million.", C),
    ("1.5", "The answer is 1.50.", C),
    ("12", "The answer is 12.0", C),
    ("12", "The answer is 12.000000000000002.", C),
    ("12.5", "The answer is 12.", W),
    ("0.5", "The answer is .5", C),
    ("0.5", r"\boxed{\frac12}", C),
    ("1/2", r"\boxed{0.5}", C),
    (r"\frac{3}{4}", "The answer is 3/4 of the cake.", C),
    (r"\frac{3}{4}", r"\boxed{\frac{6}{8}}", C),
    (r"-\frac{3}{4}", r"\boxed{\frac{-3}{4}}", C),
    (r"\frac{3}{4}", r"\boxed{-\frac{3}{4}}", W),
    (r"1\frac{1}{4}", r"\boxed{\frac{5}{4}}", C),
    ("5/4", "The answer is 1 1/4 hours.", C),
    ("1.25", "The answer is 1¼.", C),
    (r"1\frac{1}{4}", r"\boxed{\frac{1}{4}}", W),
    ("1200", r"\boxed{1.2 \times 10^3}", C),
    ("0.0012", r"\boxed{1.2\times10^{-3}}", C),
    ("1200", "The answer is 1.2e3.", C),
    ("1200", r"\boxed{1.2 \times 10^4}", W),
    ("100000", r"\boxed{10^5}", C),
    (r"0.\overline{3}", r"\boxed{\frac{1}{3}}", C),
    ("-5", "The answer is −5.", C),
    ("12", "The answer is １２.", C),
    (r"\frac{1}{3}", r"\boxed{0.33333}", C),
    (r"\frac{1}{3}", r"\boxed{0.33}", U),
    (r"\frac{1}{3}", r"\boxed{0.34}", W),
    ("3.14", r"\boxed{3.14159}", U),
    ("5", r"\boxed{5.00001}", W),
]

UNITS = [
    ("28%", "The answer is 28%.", C),
    ("28", r"The answer is $28\%$.", C),
    (r"28\%", "The answer is 28 percent.", C),
    ("28%", "The answer is 28.", C),
    ("28%", "The answer is 0.28.", C),
    ("0.28", "The answer is 28%.", C),
    ("28%", "The answer is 82%.", W),
    ("5", "The answer is $5.", C),
    ("5", r"The answer is \$5.00.", C),
    (r"\$36", "The answer is 36 dollars.", C),
    ("36", "The answer is €36.", C),
    ("5", r"\boxed{5 \text{ cm}}", C),
    ("5", r"\boxed{5\text{ cm}^2}", C),
    ("5 cm", r"\boxed{5}", C),
    ("5 cm", "The answer is 5 centimeters.", C),
    ("5 cm", "The answer is 5 km.", U),
    ("5 cm", "The answer is 6 cm.", W),
    (r"30^\circ", r"\boxed{30}", C),
    ("30", r"\boxed{30^{\circ}}", C),
    (r"30^\circ", "The answer is 30 degrees.", C),
    ("5", r"\boxed{5x}", W),
    ("5", r"\boxed{5m}", U),
    ("5", "The answer is 5 m.", C),
    ("5", "The answer is 5 hours and 30 minutes.", U),
    ("12", "The answer is 12 miles per hour.", C),
]

LATEX = [
    (r"2\sqrt{3}", r"\boxed{\sqrt{12}}", C),
    (r"2\sqrt{3}", "The answer is 2√3.", C),
    (r"2\sqrt{3}", "The answer is 2*sqrt(3).", C),
    ("2", "The answer is 2*sqrt(3).", W),
    ("2", "The answer is 2 sqrt(3).", W),
    (r"7\pi", r"\boxed{7π}", C),
    (r"7\pi", r"\boxed{7}", W),
    (r"\sqrt{2}", r"\boxed{1.41421}", C),
    (r"\sqrt{2}", r"\boxed{1.41}", U),
    ("x^2+2x+1", r"\boxed{(x+1)^2}", C),
    ("x^2+2x+1", r"\boxed{(x-1)^2}", W),
    ("4a-2", r"\boxed{-2+4a}", C),
    ("y=3x+2", r"\boxed{3x+2}", C),
    ("3x+2", r"\boxed{y = 3x + 2}", C),
    ("5", r"\boxed{x = 5}", C),
    ("x=5", r"\boxed{5}", C),
    ("x=5", r"\boxed{x=6}", W),
    ("2x+z=1", r"\boxed{1}", U),
    ("5", r"\boxed{AB = 5\text{ cm}}", C),
    ("f(x)=x+1", r"\boxed{x+1}", C),
    ("1", r"\boxed{x = 2 + 3 = 1}", C),
    (r"\frac{22}{7}", r"\boxed{\frac{22}{7} \approx 3.14}", C),
    ("(1,2)", r"\boxed{(1, 2)}", C),
    ("(1,2)", r"\boxed{(2, 1)}", W),
    ("(1,2)", r"\boxed{(x,y) = (1,2)}", C),
    ("1,2", r"\boxed{2, 1}", C),
    ("1,2", r"\boxed{\{1,2\}}", C),
    ("1,2", r"\boxed{x = 1 \text{ or } x = 2}", C),
    ("1,2", r"The solutions are \boxed{1} and \boxed{2}.", C),
    ("1,2", r"The solutions are \boxed{1} and \boxed{3}.", W),
    ("1,2", r"\boxed{1}", W),
    ("1", r"\boxed{1,2}", W),
    (r"\{1,2,3\}", r"\boxed{\{3,2,1\}}", C),
    ("[0,1)", r"\boxed{[0,1)}", C),
    ("[0,1)", r"\boxed{(0,1)}", W),
    ("[0,1)", r"\boxed{[0,2)}", W),
    ("x>5", r"\boxed{(5,\infty)}", C),
    ("x>5", r"\boxed{x<5}", W),
    (r"x \le 5", r"\boxed{5 \geq x}", C),
    (r"(-\infty,2)\cup(3,\infty)", r"\boxed{(3,\infty) \cup (-\infty,2)}", C),
    (r"(-\infty,2)\cup(3,\infty)", r"\boxed{(-\infty,2]\cup(3,\infty)}", W),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{bmatrix} 1 \\ 2 \end{bmatrix}}", C),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{pmatrix} 2 \\ 1 \end{pmatrix}}", W),
    ("52_8", r"\boxed{52_{8}}", C),
    ("52_8", r"\boxed{42_{10}}", C),
    ("52_8", r"\boxed{52_{9}}", W),
    ("52_8", r"\boxed{52}", U),
    (r"\text{east}", "The answer is East.", C),
    (r"\text{east}", r"\boxed{\text{west}}", W),
    (r"\text{(C)}", r"\boxed{C}", C),
    (r"\text{(C)}", r"\boxed{D}", W),
    ("1+274i", r"\boxed{274i + 1}", C),
    ("1+274i", r"\boxed{1-274i}", W),
    (r"\infty", r"\boxed{-\infty}", W),
    (r"\frac{1}{2004!}", r"\boxed{\frac{1}{2006!}}", W),
    (r"10^{-30}", r"\boxed{10^{-31}}", W),
    ("n(n+1)/2", r"\boxed{\frac{n^2+n}{2}}", C),
    (r"\cot x", r"\boxed{\frac{\cos x}{\sin x}}", C),
    ("7:32", r"\boxed{7:32}", C),
    ("11", r"\boxed{\text{The answer is } 11}", C),
    ("p - q", r"\boxed{q - p}", W),
    ("12", r"\boxed{\text{no solution}}", W),
]

VERBOSE = [
    (r"\frac{3}{2}\sqrt{3}", r"Thus the least value is $\boxed{\frac{3 \sqrt{3}}{2}}$.", C),
    (r"\frac{1}{2}", r"Hence \[\boxed{m=\frac{1}{2}}\]", C),
    ("2^{1009}", r"\boxed{2 \cdot 2^{1008}}", C),
    ("2^{1009}", r"\boxed{2^{1010}}", W),
    ("(0,0),(1,-1)", r"\boxed{(x,y) = (0,0) \text{ and } (1,-1)}", C),
    ("(0,0),(1,-1)", r"\boxed{(0,0), (1,1)}", W),
    ("n=3", r"So $\boxed{3}$ works.", C),
    (r"\frac{n(n-1)}{2}", r"\boxed{\binom{n}{2}}", C),
    (r"\pm\frac{1}{2}", r"\boxed{-\frac12 \text{ or } \frac12}", C),
    ("8.0625", r"\boxed{8 \frac{1}{16}}", C),
    ("x=2,y=3", r"\boxed{(2,3)}", C),
    (r"\frac{4\pi}{3}", r"\boxed{4\pi/3}", C),
    ("12", r"\boxed{\mathbf{12}}", C),
    ("12", r"\boxed{\text{12}}", C),
    ("12", r"\boxed{12 \text{ units}^2}", C),
    ("12", r"\boxed{\$12}", C),
    ("12", r"\boxed{\text{Area} = 12}", C),
    ("12", r"\boxed{\text{Perimeter} = 12 \text{ cm}}", C),
    ("12", "We try several ways.\n\n**12**", C),
    ("13", "We try several ways.\n\n**12**", W),
    ("3", r"Therefore, $x = \frac{-b + \sqrt{b^2-4ac}}{2a} = 3$.", C),
    ("7", "So the final answer is 3 + 4 = 7.", C),
    ("0.5", "The answer is 1/2 or 0.5.", C),
    (r"\sqrt[3]{2}", r"\boxed{2^{1/3}}", C),
    ("120", r"\boxed{\binom{10}{3}}", C),
    ("3628800", r"\boxed{10!}", C),
    (r"45^\circ", r"\boxed{\frac{\pi}{4}}", C),
    (r"\frac{\pi}{4}", r"\boxed{45^\circ}", C),
    (r"45^\circ", r"\boxed{\frac{\pi}{3}}", W),
    ("3e8", r"\boxed{3.0 \times 10^8 \, \text{m/s}}", C),
    ("1,2,3,6", r"\boxed{1, 2, 3, 6}", C),
    ("1,2,3,6", r"\boxed{1, 2, 3}", W),
    ("1", r"\boxed{\{1\}}", C),
    ("(0,1)", r"\boxed{0 < x < 1}", C),
    ("2^n-1", r"\boxed{a_n = 2^n - 1}", C),
    ("2^n-1", r"\boxed{a_n = 2^{n-1}}", W),
    (r"x^{2}+y^{2}=4", r"\boxed{x^2 + y^2 = 4}", C),
    ("18", "She makes 9 * 2 = $<<9*2=18>>18 every day at the market.", C),
    ("18", "Therefore, Janet makes $18 every day at the market.", C),
    ("7", "Tom has 5 apples and Jerry has 7 apples.", U),
    ("12", "## Step 3: Add\nWe add 5 and 7.\n\nThe final answer is: $\\boxed{12}$", C),
    ("12", "Step 1: 5 + 7 = 12.\nStep 2: Check: 12 - 7 = 5.\nAnswer: 12", C),
    ("12", "<answer>12</answer>", C),
    ("12", "<think>5 + 7</think>\n<answer> 12 </answer>", C),
    ("12", '{"steps": ["5 + 7"], "answer": 12}', C),
    ("12", "The answer is 12 (twelve).", C),
    ("12", "The answer is between 12 and 13.", U),
    ("12", "The answer is less than 12.", U),
    ("12", "The answer is more than 12 apples.", U),
    ("12", "The answer is twice 12.", U),
    ("6", "The answer is half of 12, which is 6.", C),
    ("12", "The answer is at least 12.", U),
    ("12", "The number of boxes is 12, so the answer is the number of boxes.", U),
    ("12", r"We get \boxed{12}. The answer is in centimetres.", C),
    ("12", r"Check: is \boxed{12} right? Yes, it is.", C),
    ("12", "I am not sure, but my answer is 12.", C),
    ("1/2", "The answer is one half.", U),
    ("1.5", "The answer is one and a half.", U),
    ("12", "The answer is 12th.", U),
    ("12", "The answers are 12 and 15.", W),
    ("12,15", "The answers are 12 and 15.", C),
    ("12", "Answer: 12)", C),
    ("6", "Answer: 2 x 3 = 6", C),
    ("2023", "In 2023 he was 12.", U),
    ("12", "The answer is 1 2.", U),
    ("12", "ANSWER: 12", C),
    ("12", "answer is 12", C),
    ("12", "The answer is 12!", C),
    ("479001600", r"\boxed{12!}", C),
]

CHINESE = [
    ("12", "答案是12。", C),
    ("12", "答案:12元", C),
    ("12", "所以答案是12个苹果。", C),
    ("12", "答：小明一共有12个苹果。", C),
    ("12", "3×4=12，所以一共有12个苹果。", C),
    ("12", "因此，小明有１２元。", C),
    ("12", "答案是十二。", C),
    ("105", "答案是一百零五个。", C),
    ("1/3", "答案是三分之一。", C),
    ("25%", "答案是百分之二十五。", C),
    ("3", "答案是3千米。", C),
    ("12", "最终答案是 $\\boxed{12}$。", C),
    ("13", "答案是12。", W),
    ("12", "答案不是12。", U),
    ("12", "如果答案是12,那么还要再算。", U),
    ("12", "答案是10。等等，我算错了，答案是12。", C),
    ("2.5", "答案是2.5米。", C),
    ("36", "答案是36平方厘米。", C),
    ("15000", "答案是1.5万。", C),
]


@pytest.mark.parametrize(
    ("reference", "response", "outcome"), ANNOUNCED + CLOSING + REFUSED + NUMBERS + UNITS + LATEX + VERBOSE + CHINESE
)
def test_a_final_answer_gets_the_outcome_a_careful_reader_gives(
    reference: str, response: str, outcome: Outcome
) -> None:
    assert verify_math(reference, response)[0] is outcome


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (r"So the total is \boxed{12}", C),
        (r"So the total is \boxed{12", U),
        ("The answer is 12. To check this, we", C),
        ("The answer is 12", U),
        ("A: 12", U),
        ("#### 12", U),
        ("#### 12\n", U),
        ("So she has 12 apples.", U),
        ("", U),
    ],
)
def test_an_answer_at_a_token_limit_counts_only_if_it_cannot_be_cut(response: str, outcome: Outcome) -> None:
    assert verify_math("12", response, finish=Finish.LENGTH)[0] is outcome


def test_an_answer_that_a_token_limit_may_have_cut_is_not_even_wrong() -> None:
    assert verify_math("1234", "The answer is 12", finish=Finish.LENGTH) == (U, None)
    assert verify_math("12", "The answer is 12.", finish=Finish.FAILED) == (U, None)


def test_the_answer_found_is_reported_as_written() -> None:
    assert verify_math("0.5", r"So \boxed{\frac12}.") == (C, r"\frac12")
    assert verify_math("13", "The answer is 12 apples.") == (W, "12 apples")
    assert verify_math("12", "I cannot solve this.") == (U, None)
    answer = read_answer(r"\boxed{1} and \boxed{2}")
    assert answer is not None
    assert answer.values == ("1", "2")


def test_a_reference_inside_a_worked_solution_is_found() -> None:
    solution = "Doubling six and adding nothing, we obtain the number of boxes, which is " + r"\boxed{12}."
    assert verify_math(solution, "The answer is 12.")[0] is C
    assert verify_math(solution, "The answer is 6.")[0] is W


@pytest.mark.parametrize("power", ["10^{10^{10}}", "999999999!", "2^{99999999}", "9^{9^{9^{9}}}", "1e999999999"])
def test_a_number_too_large_to_write_down_decides_nothing_and_hangs_nothing(power: str) -> None:
    assert verify_math(power, rf"\boxed{{{power}}}")[0] is C
    assert verify_math("12", rf"\boxed{{{power}}}")[0] is not C
    assert verify_math(power, r"\boxed{12}")[0] is not C


@pytest.mark.parametrize(
    ("text", "outcome", "found"),
    [
        ("It is 4.", Outcome.CORRECT, "4"),
        ("We count them.\nSo it's 4 apples.", Outcome.CORRECT, "4 apples"),
        ("This is 7.", Outcome.WRONG, "7"),
        ("It is five.", Outcome.WRONG, "five."),
        # No formula, though its words are short: two numbers, and nothing says which one is the answer.
        ("2 + 2 is 4.", Outcome.UNREADABLE, None),
        ("It is not 4.", Outcome.UNREADABLE, None),
    ],
)
def test_a_closing_sentence_of_short_words_is_read_by_what_stands_behind_its_verb(
    text: str, outcome: Outcome, found: str | None
) -> None:
    assert verify_math("4", text, finish=Finish.STOP) == (outcome, found)
