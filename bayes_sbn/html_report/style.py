"""How a report looks: one style sheet, for screens of any width, light or dark, and for paper.

Pictures keep their white ground in the dark too, since their ink is dark.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --panel: #f5f7fa; --ink: #1c2430; --quiet: #55606e; --line: #d5dbe3;
  --link: #005a94; --bar: #0072b2; --true: #00785a; --wrong: #b34700; --shade: #1c243040;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181d; --panel: #1d232b; --ink: #e6eaef; --quiet: #a4afbc; --line: #39424e;
    --link: #7cc0f0; --bar: #56b4e9; --true: #3fc79f; --wrong: #ff9a5c; --shade: #ffffff40;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
.page { max-width: 70rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
a { color: var(--link); }
a:focus-visible, .scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--link); }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 {
  font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .9rem;
  border-top: 1px solid var(--line);
}
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p, ul, .facts { max-width: 46rem; }
p { margin: .5rem 0; }
ul { padding-left: 1.25rem; margin: .5rem 0; }
.lead, .note, figcaption, caption { color: var(--quiet); }
.note, figcaption, caption { font-size: .875rem; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
code { font-size: .9em; overflow-wrap: anywhere; }
pre {
  background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .75rem;
  font-size: .8125rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0;
}
nav ol {
  list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; margin: 1rem 0;
}
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.cards {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .75rem;
  margin: 1rem 0; padding: 0;
}
.card {
  background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: .75rem .9rem;
}
.card .name { color: var(--quiet); font-size: .875rem; }
.card .value { font-size: 1.6rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card .interval { color: var(--quiet); font-size: .8125rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: .75rem 0; }
.scroll, figure.wide { /* a shade at an edge beyond which there is more */
  background:
    linear-gradient(to right, var(--under) 40%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--under) 40%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / .75rem 100% no-repeat,
    linear-gradient(to left, var(--shade), transparent) right / .75rem 100% no-repeat,
    var(--under);
}
.scroll { --under: var(--ground); }
figure.wide { --under: var(--panel); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .35rem; }
th, td {
  padding: .35rem .7rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap;
}
th:first-child, td:first-child { padding-left: 0; }
thead th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 600; max-width: 18rem; white-space: normal; }
thead th { max-width: 11rem; white-space: normal; }
ul.flags li { margin: .35rem 0; }
th.n, td.n { text-align: right; }
th.long, td.long { white-space: normal; min-width: 17rem; }
.facts { margin: .75rem 0; }
.facts div {
  display: grid; grid-template-columns: 12rem 1fr; gap: .25rem 1rem; padding: .3rem 0;
  border-bottom: 1px solid var(--line);
}
.facts dt { color: var(--quiet); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr));
  gap: 1rem; align-items: start;
}
figure {
  margin: 0; padding: .75rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--panel);
  break-inside: avoid;
}
figure.wide { grid-column: 1 / -1; }
figure > img {
  display: block; max-width: 100%; height: auto; margin: 0 auto .5rem; background: #fff;
  border-radius: 4px;
}
.cases {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr));
  gap: .75rem;
}
.case {
  border: 1px solid var(--line); border-radius: 8px; background: var(--panel); padding: .7rem .8rem;
  break-inside: avoid; min-width: 0; font-size: .875rem;
}
.case .head { display: flex; gap: .75rem; align-items: flex-start; }
.case .head > div { min-width: 0; overflow-wrap: anywhere; }
.case img {
  width: 72px; height: auto; flex: none; image-rendering: pixelated; border: 1px solid var(--line);
}
.case .row { color: var(--quiet); }
.right { color: var(--true); font-weight: 600; }
.wrong { color: var(--wrong); font-weight: 600; }
.probs { margin: .5rem 0 0; padding: 0; list-style: none; }
.probs li {
  display: grid; grid-template-columns: minmax(0, 5.5rem) 1fr 7.2rem; gap: .5rem;
  align-items: center;
}
.probs .who { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.probs .who.true { font-weight: 700; text-decoration: underline; }
.probs .track { position: relative; height: .7rem; background: var(--line); border-radius: 2px; }
.probs .fill {
  position: absolute; left: 0; top: 0; bottom: 0; background: var(--bar); border-radius: 2px;
}
.probs .range { position: absolute; top: calc(50% - 1px); height: 2px; background: var(--ink); }
.probs .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.values { margin: .5rem 0 0; color: var(--quiet); overflow-wrap: anywhere; }
.confusion td.hit { font-weight: 700; }
footer { margin-top: 3rem; color: var(--quiet); font-size: .875rem; }
@media (max-width: 36rem) {
  .page { padding: 1rem .9rem 2rem; }
  .facts div { grid-template-columns: 1fr; gap: 0; }
  figure.wide { overflow-x: auto; }
  figure.wide > img { max-width: none; width: 36rem; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
  h1 { font-size: 1.4rem; }
  /* A table whose last column is of sentences: these stand below their rows. */
  table.sentences, .sentences thead, .sentences tbody { display: block; }
  .sentences tr {
    display: grid; grid-template-columns: minmax(0, 1fr) auto minmax(8.6rem, auto);
    gap: 0 .6rem;
    padding: .35rem 0; border-bottom: 1px solid var(--line); font-size: .8125rem;
  }
  .sentences th, .sentences td { border: 0; padding: 0; }
  .sentences thead .long { display: none; }
  .sentences .long { grid-column: 1 / -1; min-width: 0; color: var(--quiet); }
}
@media print {
  @page { margin: 15mm 14mm; }
  :root {
    color-scheme: light;
    --ground: #fff; --panel: #fff; --ink: #000; --quiet: #444; --line: #bbb; --link: #000;
    --bar: #0072b2; --true: #00785a; --wrong: #b34700; --shade: transparent;
  }
  body { font-size: 10pt; }
  .page { max-width: none; padding: 0; }
  nav { display: none; }
  h2 { margin-top: 1.5rem; }
  h2, h3, h3 + .note, caption { break-after: avoid; }
  p, thead, tr, .card, .scroll, pre, .facts div, ul.flags li { break-inside: avoid; }
  p:has(+ figure), p:has(+ .scroll), p:has(+ .figures) { break-after: avoid; }
  .cards { grid-template-columns: repeat(auto-fit, minmax(6rem, 1fr)); gap: .4rem; }
  .card { padding: .4rem .5rem; }
  .card .value { font-size: 13pt; }
  .card .name, .card .interval { font-size: 7.5pt; }
  .figures, .cases { grid-template-columns: 1fr 1fr; }
  .figures > figure:only-child { grid-column: 1 / -1; }
  figure > img { max-height: 7cm; width: auto; }
  .scroll { overflow: visible; }
  table, pre { font-size: 8pt; }
  th, td { white-space: normal; padding: .2rem .4rem; }
  .case { font-size: 8pt; padding: .5rem; }
  .case img { width: 48px; }
  .probs .fill, .probs .track, .probs .range {
    -webkit-print-color-adjust: exact; print-color-adjust: exact;
  }
}
"""
