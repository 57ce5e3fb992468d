"""How pages look: one column, quiet colours, light or dark as the reader's system is."""

__all__ = ["DARK_COLORS", "LIGHT_COLORS", "PARTS", "STYLE"]

LIGHT_COLORS = """
  --page: #fbfaf8; --card: #ffffff; --line: #e4e1da; --ink: #23262b; --muted: #6a6f78; --grid: #dfdcd5;
  --link: #2b5f86; --code: #f1efea; --train: #5b7aa0; --validation: #c8642b;
  --level-0: #3c7d6c; --level-1: #8a5a9b; --level-2: #b08422; --level-3: #b4536a;
"""
"""The variables that everything is painted with."""

DARK_COLORS = """
  --page: #16181b; --card: #1e2125; --line: #31353b; --ink: #e3e4e6; --muted: #9aa0a9; --grid: #363a41;
  --link: #8fbfe6; --code: #262a2f; --train: #8fb0d8; --validation: #ee9259;
  --level-0: #74bfa9; --level-1: #c79ad8; --level-2: #dcb255; --level-3: #e88fa4;
"""

PARTS = """
.cards { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(188px, 1fr)); }
.card { padding: 14px 16px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.card dt { font-size: 13px; color: var(--muted); }
.card dd { margin: 0; }
.card .value { font-size: 25px; line-height: 1.35; font-weight: 600; font-variant-numeric: tabular-nums; }
.card .value i { font-size: 14px; font-style: normal; font-weight: 400; color: var(--muted); }
.card .hint { font-size: 13px; line-height: 1.45; color: var(--muted); }
dl { margin: 0; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
img { display: block; flex: none; image-rendering: pixelated; background: #fff; border-radius: 2px; }
.strips { padding-bottom: 8px; }
.strip { display: flex; align-items: center; width: max-content; margin-bottom: 4px; }
.strip .label { position: sticky; left: 0; z-index: 1; align-self: stretch; display: flex; align-items: center;
  width: 104px; padding-right: 10px; background: var(--page); font-size: 14px; line-height: 1.35; }
.strip b { font-weight: 600; }
.strip small { display: block; }
.images { display: flex; gap: 4px; }
.samples { display: flex; flex-wrap: wrap; gap: 4px; }
.charts { display: grid; gap: 28px 32px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 344px), 1fr)); }
.scroll + .charts, .charts + .scroll { margin-top: 28px; }
.scroll + p { margin-top: 14px; }
figure { margin: 0; min-width: 0; }
figcaption { margin-bottom: 4px; font-size: 14px; line-height: 1.5; }
figcaption b { display: block; font-weight: 600; }
.key { display: inline-block; margin-right: 14px; font-size: 13px; color: var(--muted); }
.key i { display: inline-block; width: 16px; margin-right: 5px; vertical-align: 4px; border-top: 2px solid; }
.key i.dashed { border-top-style: dashed; }
.key i.area { height: 10px; vertical-align: -1px; border: 0; background: currentColor; opacity: 0.25; }
svg { display: block; width: 100%; height: auto; stroke-linejoin: round; font-family: inherit; }
table { border-collapse: collapse; font-size: 14px; line-height: 1.4; }
th, td { padding: 7px 20px 7px 0; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--line);
  font-weight: 400; }
thead th { color: var(--muted); font-size: 13px; }
tbody th { font-weight: 600; }
tbody th small { white-space: nowrap; margin-left: 4px; font-weight: 400; }
table.numbers { width: 100%; }
table.numbers td, table.numbers thead th:not(:first-child) { padding: 7px 0 7px 20px; text-align: right;
  font-variant-numeric: tabular-nums; }
table.numbers td { white-space: nowrap; }
table.settings th { font: 13px/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
table.settings td { overflow-wrap: anywhere; min-width: 9em; }
.times { display: grid; grid-template-columns: max-content max-content 1fr; gap: 8px 16px; align-items: center;
  font-size: 14px; max-width: 720px; }
.times dd { margin: 0; font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
.times .bar { height: 10px; min-width: 2px; border-radius: 2px; background: var(--train); }
"""
"""Cards, images, charts and tables, wherever they stand."""

STYLE = (
    f":root {{ color-scheme: light dark; {LIGHT_COLORS} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {DARK_COLORS} }} }}"
    """
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main, header, footer { max-width: 1200px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 48px; }
h1 { margin: 0 0 8px; font-size: clamp(26px, 5vw, 36px); line-height: 1.2; font-weight: 650; letter-spacing: -0.015em;
  overflow-wrap: anywhere; }
h2 { margin: 0 0 6px; font-size: 21px; line-height: 1.3; font-weight: 650; letter-spacing: -0.01em; }
h2 small { margin-left: 6px; font-weight: 400; letter-spacing: 0; }
h3 { margin: 24px 0 8px; font-size: 15px; font-weight: 600; overflow-wrap: anywhere; }
p { max-width: 72ch; margin: 0 0 12px; }
small { font-size: 13px; color: var(--muted); }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 3px; }
.lead { color: var(--muted); margin-bottom: 20px; }
.lead b { color: var(--ink); font-weight: 600; }
.note { max-width: 88ch; font-size: 13px; line-height: 1.5; color: var(--muted); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 20px 0 0; font-size: 14px; }
section { padding: 32px 0; border-top: 1px solid var(--line); scroll-margin-top: 8px; }
section:first-child { border-top: 0; }
"""
    + PARTS
    + """
details { margin-top: 16px; border: 1px solid var(--line); border-radius: 10px; background: var(--card);
  padding: 0 16px; }
summary { padding: 10px 0; cursor: pointer; font-size: 14px; font-weight: 600; }
details[open] { padding-bottom: 16px; }
ol.steps { margin: 0; padding-left: 22px; }
ol.steps li { margin-bottom: 8px; }
ol.steps code { display: block; padding: 8px 12px; border-radius: 6px; background: var(--code); white-space: pre-wrap;
  overflow-wrap: anywhere; font: 14px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
footer { padding-top: 8px; padding-bottom: 48px; font-size: 13px; color: var(--muted); }
@media (max-width: 640px) {
  header { padding-top: 28px; }
  main, header, footer { padding-left: 16px; padding-right: 16px; }
  section { padding: 24px 0; }
  h2 small { display: block; margin-left: 0; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 8px; }
  .card { padding: 10px 12px; }
  .card .value { font-size: 21px; }
  .strip { display: block; margin-bottom: 10px; }
  .strip .label { width: max-content; padding: 0 0 3px; }
  .strip small { display: inline; margin-left: 6px; }
  .samples img { width: var(--narrow); height: auto; }
  .times { grid-template-columns: 1fr max-content; gap: 2px 12px; }
  .times .track { grid-column: 1 / -1; margin-bottom: 8px; }
  table.numbers td, table.numbers thead th:not(:first-child) { padding-left: 14px; }
}
@media print { nav { display: none; } section { break-inside: avoid; } }
"""
)
