"""Texts in Markdown, as models and strangers may write them."""

from hypothesis import strategies as st

PIECES = st.sampled_from(
    [
        *(
            "*",
            "_",
            "**",
            "~~",
            "`",
            "```",
            "~~~\n",
            "\n",
            "\n\n",
            "> ",
            "- ",
            "1. ",
            "# ",
            "|",
            "a",
        ),
        *("|---|\n", "[", "]", "(", ")", "![", "<", ">", "</", "https://a.b", "javascript:", "$"),
        *("$$", "\\(", "\\)", "\\[", "\\]", "\\", "&", "&lt;", '"', "'", "    ", "\t", " ", "b c"),
        *("[x] ", "<b>", "<script>", "onload=", "style=", "\u202e", "\ud83d", "\u4e2d", "\x00"),
        *("===\n", "---\n"),
    ]
)
TEXTS = st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=80))

MATHEMATICS = r"""## Roots

The roots of \(ax^2 + bx + c = 0\) with \(a \neq 0\) are
\[
x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a},
\]
so there are two of them where $b^2 > 4ac$.

1. **Matrix.** Its determinant is

   $$\det A = \begin{vmatrix} a & b \\ c & d \end{vmatrix} = ad - bc.$$

2. **Sum.** In text it is $\sum_{n=1}^{\infty} \frac{1}{n^2} = \frac{\pi^2}{6}$, and as a formula

$$
\begin{aligned}
\int_0^\infty e^{-x^2}\,dx &= \frac{\sqrt{\pi}}{2} \\[4pt]
|x| &= \begin{cases} x & \text{if } x \ge 0 \\ -x & \text{otherwise} \end{cases}
\end{aligned}
$$

\[ (a + b)^{12} = a^{12} + 12\,a^{11} b + 66\,a^{10} b^2 + 220\,a^9 b^3 + 495\,a^8 b^4
   + \cdots + 12\,a b^{11} + b^{12} \]

| Number $n$ | Value $f(n)$ |
|---|---|
| 1 | $\frac{1}{2}$ |
| 2 | $9.81\ \text{m/s}^2$ |

```python
root = (-b + sqrt(b**2 - 4 * a * c)) / (2 * a)  # $x$ stays as it is
```

It costs $5 and $7. What is unknown stays TeX: $\foo{a}{b}$. The answer is $\boxed{\frac{3}{4}}$."""
