// Style sheet and script of the page. Plain CSS and JavaScript, no library, nothing from the network.
#include "experiments/report/page.h"

namespace subspect::experiments::report {

std::string_view page_style() {
  return R"CSS(
:root{--paper:#f8f6f1;--accent:#00619a;--good:#00704f;--bad:#b64a00;--soft:#f1eee6}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){--paper:#121518;--accent:#7cc4f0;--good:#46d3ab;
  --bad:#ff9d66;--soft:#22272d}}
:root[data-theme=dark]{--paper:#121518;--accent:#7cc4f0;--good:#46d3ab;--bad:#ff9d66;--soft:#22272d}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth;scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:break-word}
main{max-width:1180px;margin:0 auto;padding:28px 32px 64px}
h1,h2,.headline{font-family:"Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua","Source Serif 4",Georgia,
  serif}
h1{font-size:clamp(1.7rem,1.2rem + 2.2vw,2.7rem);line-height:1.12;font-weight:600;letter-spacing:-.01em;
  margin:.15em 0 .3em;overflow-wrap:anywhere}
h2{font-size:1.5rem;line-height:1.2;font-weight:600;margin:0 0 .7em}
h3{font-size:1rem;line-height:1.35;font-weight:650;margin:0}section>h3{margin:1.8rem 0 .6rem}
a{color:var(--accent);text-underline-offset:.18em;text-decoration-thickness:1px}
section{margin:52px 0 0;min-width:0}
section+section{border-top:1px solid var(--rule);padding-top:34px}
.masthead{border-bottom:2px solid var(--ink);padding-bottom:14px}
.masthead+section{margin-top:30px}
.bar{display:flex;justify-content:space-between;align-items:center;gap:16px}
.kicker{margin:0;font-size:.8rem;letter-spacing:.09em;text-transform:uppercase;color:var(--muted);font-weight:600}
#theme{font:inherit;font-size:.82rem;line-height:1;color:var(--muted);background:none;border:1px solid var(--rule);
  border-radius:99px;padding:.55em .95em;cursor:pointer;white-space:nowrap}
#theme:hover{color:var(--ink);border-color:var(--muted)}
.facts{list-style:none;display:flex;flex-wrap:wrap;gap:.1em 1.4em;margin:0;padding:0;color:var(--muted);
  font-size:.9rem}
.facts li{overflow-wrap:anywhere}
.headline{font-size:clamp(1.2rem,1.05rem + .7vw,1.5rem);line-height:1.35;margin:0 0 1.1em;max-width:62ch;
  text-wrap:pretty}
.deviations{border-left:3px solid var(--c4);padding:.1em 1em;margin:0 0 1.1em;max-width:76ch}
.findings{list-style:none;margin:0;padding:0;display:grid;
  grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:0 44px}
.findings li{display:grid;grid-template-columns:5.4em minmax(0,1fr);gap:0 14px;padding:15px 0;
  border-top:1px solid var(--rule)}
.findings p{margin:.3em 0 0;color:var(--muted);font-size:.94rem;font-variant-numeric:tabular-nums;max-width:62ch}
.verdict{display:inline-flex;align-items:baseline;gap:.45em;font-weight:650;font-size:.92rem;line-height:1.5;
  color:var(--muted)}
.verdict b{display:inline-block;width:1.5em;height:1.5em;flex:none;line-height:1.5em;text-align:center;
  border-radius:50%;font-size:.82rem;background:var(--soft)}
.yes .verdict{color:var(--good)}.no .verdict{color:var(--bad)}.partly .verdict{color:var(--c4)}
.yes .verdict b{background:var(--good);color:var(--paper)}.no .verdict b{background:var(--bad);color:var(--paper)}
  .partly .verdict b{background:var(--c4);color:var(--paper)}
.findings .fact{grid-template-columns:1.5em minmax(0,1fr)}
.opening .findings,.opening .figures{grid-template-columns:minmax(0,1fr)}
@media (min-width:960px){.opening{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:0 40px;
  align-items:start}.opening .findings{order:-1}.opening .figures{margin:0}.opening>:only-child{grid-column:1/-1}}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:20px;margin:0 0 26px}
.card{margin:0;background:var(--surface);border:1px solid var(--rule);border-radius:8px;padding:16px 18px 12px;
  min-width:0;display:flex;flex-direction:column}
.card figcaption{font-weight:650;line-height:1.35;margin:0 0 12px;overflow-wrap:anywhere}
.card .wide,.card .narrow{width:100%;max-width:640px;margin:0 auto}
.narrow{display:none}
.caption{margin:10px 0 0;color:var(--muted);font-size:.85rem;line-height:1.45}
.card .caption{margin-top:auto;padding-top:10px}
nav{margin:40px 0 0;border-top:1px solid var(--rule);border-bottom:1px solid var(--rule);padding:10px 0}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.25em 1.5em;margin:0;padding:0;font-size:.92rem}
nav+section{border-top:0;padding-top:0;margin-top:38px}
.scroll{overflow-x:auto;max-width:100%;max-height:min(70vh,560px);overflow-y:auto;background:var(--surface);
  border:1px solid var(--rule);border-radius:8px}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.86rem;line-height:1.4;
  font-variant-numeric:tabular-nums}
td,th{padding:.42em .85em;text-align:left;white-space:nowrap;border-bottom:1px solid var(--grid)}
tr:last-child td,tr:last-child th{border-bottom:0}
thead th{position:sticky;top:0;background:var(--surface);border-bottom:1px solid var(--rule);padding:0;
  font-weight:600;z-index:1}
th.n,td.n{text-align:right}
tbody tr:hover td{background:var(--soft)}
th button{font:inherit;color:inherit;background:none;border:0;padding:.62em .85em;width:100%;text-align:inherit;
  cursor:pointer;white-space:nowrap}
th button:hover{color:var(--accent)}
th i{display:inline-block;width:1em;font-style:normal;text-align:right;color:var(--accent)}
th[aria-sort=none] i::after{content:"↕";color:var(--rule)}th[aria-sort=ascending] i::after{content:"↑"}
  th[aria-sort=descending] i::after{content:"↓"}
.pairs th{font-weight:500;color:var(--muted);width:1%}
.pairs td{white-space:pre-wrap;overflow-wrap:anywhere;min-width:14em}
.pairs th,.pairs td{vertical-align:top}
details{border-top:1px solid var(--rule);padding:12px 0}
details:last-of-type{border-bottom:1px solid var(--rule)}
summary{cursor:pointer;font-weight:600}
details>:nth-child(2){margin-top:12px}
pre{margin:0;padding:14px 16px;font:.82rem/1.55 ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
  white-space:pre;tab-size:2}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
footer{margin-top:56px;color:var(--muted);font-size:.85rem}
@media (max-width:560px){
main{padding:18px 16px 48px}
section{margin-top:40px}
.wide{display:none}.narrow{display:block}
.card{padding:14px 12px 10px}
.findings li{grid-template-columns:minmax(0,1fr);gap:4px;padding:13px 0}
.findings .fact{grid-template-columns:1.2em minmax(0,1fr)}
td,th{padding:.4em .65em}th button{padding:.7em .65em}
}
@media (prefers-reduced-motion:reduce){*{scroll-behavior:auto!important;transition:none!important}}
@media print{
body{background:#fff;font-size:11pt}main{max-width:none;padding:0}
#theme,nav,th i{display:none}.card,.findings li,tr{break-inside:avoid}h2{break-after:avoid}
.figures{grid-template-columns:1fr 1fr}.scroll{max-height:none;overflow:visible;border:0}a{color:inherit}
}
)CSS";
}

std::string_view page_script() {
  return R"JS(
"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("subspect-theme"); } catch { return null; } };
  const keep = theme => { try { localStorage.setItem("subspect-theme", theme); } catch { /* private window */ } };
  const show = theme => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    button.textContent = "Theme: " + theme;
  };
  let theme = themes.includes(stored()) ? stored() : "auto";
  show(theme);
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    keep(theme);
    show(theme);
  });

  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.textContent === "") return null;
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), "en", {numeric: true});
  const sort = heading => {
    const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const column = heading.cellIndex;
    const body = heading.closest("table").tBodies[0];
    const empty = v => v === null || Number.isNaN(v);
    const rows = Array.from(body.rows, row => ({row, key: value(row, column)}));
    rows.sort((a, b) => empty(a.key) || empty(b.key) ? empty(a.key) - empty(b.key) : direction * compare(a.key, b.key));
    for (const other of heading.parentNode.cells) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    body.append(...rows.map(each => each.row));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    table.tHead.addEventListener("click", event => {
      const heading = event.target.closest("th");
      if (heading) sort(heading);
    });
  }
})();
)JS";
}

}  // namespace subspect::experiments::report
