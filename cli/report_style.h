// The style sheet of the report. --series-N are the colours of the charts.
#pragma once

namespace flowawr {

inline constexpr char kReportStyle[] = R"css(
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f26;--muted:#5d6673;--grid:#e3e6eb;--axis:#b4bac4;
--good:#137a41;--good-bg:#e3f5ea;--bad:#b3261e;--bad-bg:#fdebe9;--series-1:#2f6fdb;--series-2:#d9730d;--series-3:#7a4fcf;
--series-4:#0b8a83;--series-5:#64748b;--series-6:#b83280;--series-7:#5c7c12;--series-8:#a14a26}
@media(prefers-color-scheme:dark){:root{--page:#111418;--card:#1a1f26;--ink:#e8eaee;--muted:#9aa4b2;--grid:#2b323c;
--axis:#4b5563;--good:#5fd394;--good-bg:#12321f;--bad:#ff8a80;--bad-bg:#3a1a18;--series-1:#6ea3ff;--series-2:#ffa24d;
--series-3:#b69bff;--series-4:#4fd1c5;--series-5:#94a3b8;--series-6:#f58cc3;--series-7:#b5d65c;--series-8:#f0a184}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 4px}
h2{font-size:1.2rem;margin:40px 0 12px}
h3{font-size:.95rem;margin:0 0 8px}
p{margin:0 0 10px}
.sub{color:var(--muted)}
code,pre,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.card{background:var(--card);border:1px solid var(--grid);border-radius:10px;padding:16px 18px;min-width:0}
.tiles,.columns,.pairs{display:grid;gap:14px}
.tiles{grid-template-columns:repeat(6,1fr);margin-top:22px}
.tile.large{grid-column:span 3}
.tile.small{grid-column:span 2}
@media(max-width:640px){.tile.large,.tile.small{grid-column:span 6}}
.columns{grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr))}
.columns.two{grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr))}
.pairs{grid-template-columns:repeat(auto-fill,minmax(min(100%,250px),1fr))}
.spaced{margin-top:14px}
.tile .name{color:var(--muted);font-size:.85rem}
.tile .value{white-space:nowrap;font-size:1.7rem;font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums}
.tile.large .value{font-size:2.3rem}
.tile .value small{font-size:1.2rem;font-weight:500;color:var(--muted)}
.tile .more{color:var(--muted);font-size:.85rem}
.pair{padding:12px}
.pair h3{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.pair>div{display:grid;grid-template-columns:1fr 1fr;gap:10px}
.strip{padding:12px;margin-bottom:12px}
.strip h3{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.strip>div{display:flex;gap:10px;overflow-x:auto}
.strip figure{flex:1 0 110px;max-width:180px}
figure{margin:0;min-width:0}
figure img{display:block;width:100%;height:auto;border-radius:5px;background:var(--grid)}
figure img.small{image-rendering:pixelated}
figcaption{font-size:.78rem;color:var(--muted);margin-top:5px;line-height:1.45}
.read{display:inline-block;max-width:100%;padding:0 6px;border-radius:4px;font-weight:600;overflow-wrap:anywhere}
.match{color:var(--good);background:var(--good-bg)}
.mismatch{color:var(--bad);background:var(--bad-bg)}
.notes{border-left:4px solid var(--series-2);margin-top:18px}
.notes p:last-child{margin:0}
svg.chart{display:block;width:100%;height:auto;overflow:visible}
.chart text{font-size:12px;fill:var(--muted);font-variant-numeric:tabular-nums}
.chart text.label{fill:var(--ink);font-size:13px}
.chart .grid{stroke:var(--grid)}
.chart .axis{stroke:var(--axis)}
.chart .line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}
.chart .error{fill:none;stroke:var(--c);stroke-width:1.5}
.chart .marker{fill:var(--card);stroke:var(--c);stroke-width:2.5}
.chart .mark{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 4}
.chart .hover{fill:var(--c);opacity:0}
.chart .hover:hover{opacity:.6}
.chart .bar{fill:var(--c)}
.legend{color:var(--muted);font-size:.85rem;margin:8px 0 0}
.legend span{margin-right:18px;white-space:nowrap}
.legend span.remark{white-space:normal}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}
.scroll{overflow-x:auto}
.scroll>svg.chart{min-width:640px}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 10px;border-bottom:1px solid var(--grid);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
th{color:var(--muted);font-weight:600}
tr:last-child td{border-bottom:0}
pre{overflow-x:auto;font-size:.82rem;line-height:1.45;margin:0}
details>summary{cursor:pointer;font-weight:600}
details[open]>summary{margin-bottom:12px}
details+details{margin-top:14px}
@media print{.card{break-inside:avoid}}
)css";

}  // namespace flowawr
