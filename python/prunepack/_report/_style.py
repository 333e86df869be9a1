"""The style of the page, for light and dark and any width."""

STYLE = """
:root {
  --page: #f6f7f9; --card: #fff; --ink: #1d2330; --faint: #8a93a5; --line: #e4e7ed;
  --kept: #2f6fdb; --pruned: #c9d3e4; --cut: #d6402b;
  --font: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151c; --card: #1a1f29; --ink: #e6e9ef; --faint: #7f8a9e; --line: #2a3140;
    --kept: #6ea4ff; --pruned: #3a4661; --cut: #ff7a64;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 var(--font); }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; letter-spacing: -0.01em; }
h2 { font-size: 1.1rem; margin: 0 0 0.25rem; }
h3 { font-size: 0.8rem; margin: 0; color: var(--faint); font-weight: 600; }
header p, .note, footer { color: var(--faint); margin: 0.2rem 0 0.9rem; }
code { font-size: 0.9em; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.1rem 1.25rem; margin-top: 1rem; }
.cards { background: none; border: 0; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 0.9rem 1.1rem; }
.card b { display: block; font-size: 1.6rem; line-height: 1.3; letter-spacing: -0.02em;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.card p { margin: 0; color: var(--faint); font-size: 0.88rem; }
.wide { overflow-x: auto; }
.wide > svg { display: block; width: 100%; min-width: 560px; height: auto; }
.figures { display: grid; gap: 1.1rem 1.4rem;
  grid-template-columns: repeat(auto-fill, minmax(255px, 1fr)); }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { font-size: 0.82rem; overflow-wrap: anywhere; line-height: 1.35; margin-bottom: 2px; }
figcaption span { display: block; color: var(--faint); }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem;
  font-variant-numeric: tabular-nums; }
th { color: var(--faint); font-weight: 600; text-align: right; white-space: nowrap; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); }
td { text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; }
tbody tr:last-child td { border-bottom: 0; }
.bar { display: block; position: relative; width: 120px; height: 11px; }
.bar span { position: absolute; left: 0; top: 0; height: 100%; border-radius: 2px; }
span.pruned, i.pruned { background: var(--pruned); }
span.kept, i.kept { background: var(--kept); }
i { display: inline-block; width: 0.75em; height: 0.75em; border-radius: 2px; }
i.cut { width: 0; border-left: 2px dashed var(--cut); border-radius: 0; height: 0.9em;
  vertical-align: -0.1em; margin: 0 0.2em; }
footer { font-size: 0.85rem; margin-top: 1.4rem; }
@media (max-width: 560px) { main { padding: 1.2rem 0.8rem 2rem; } section { padding: 0.9rem; } }
"""
