// Colours and CSS of the plots: after Okabe and Ito (2008), darkened for white paper and lightened for a dark one.
#include "experiments/report/plot.h"

namespace subspect::experiments::report {

std::string_view palette_light() {
  return "--surface:#ffffff;--ink:#1c2127;--muted:#5a636e;--rule:#d9d6cd;--grid:#eceae4;"
         "--c0:#0072b2;--c1:#d55e00;--c2:#008a66;--c3:#b0568f;--c4:#9a7400;--c5:#2f9fdc;--c6:#6d4c2f;--c7:#6b7178;";
}

std::string_view palette_dark() {
  return "--surface:#1b1f24;--ink:#e9e6df;--muted:#a5adb7;--rule:#3a414a;--grid:#2a3037;"
         "--c0:#56b4e9;--c1:#f5925a;--c2:#35c79f;--c3:#e39cc6;--c4:#e8bf4a;--c5:#9cc4ff;--c6:#cfae8e;--c7:#b3b9c0;";
}

std::string_view plot_style() {
  return R"CSS(
.plot{display:block;width:100%;height:auto;
  font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
  font-variant-numeric:tabular-nums}
.plot text{fill:var(--muted);stroke:none}
.plot .axis-title,.plot .legend text{fill:var(--ink)}
.plot .grid{stroke:var(--grid);stroke-width:1;fill:none}
.plot .frame{stroke:var(--rule);stroke-width:1;fill:none}
.plot .guide{stroke:var(--muted);stroke-width:1;stroke-dasharray:1 4;stroke-linecap:round;fill:none}
.plot .guide-label{fill:var(--muted);paint-order:stroke;stroke:var(--surface);stroke-width:4px;stroke-linejoin:round}
.plot .k0{color:var(--c0)}.plot .k1{color:var(--c1)}.plot .k2{color:var(--c2)}.plot .k3{color:var(--c3)}
.plot .k4{color:var(--c4)}.plot .k5{color:var(--c5)}.plot .k6{color:var(--c6)}.plot .k7{color:var(--c7)}.plot .ki{
  color:var(--ink)}
.plot .line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.plot .dashed{stroke-dasharray:7 5}.plot .dotted{stroke-dasharray:1.5 5}
.plot .mark{fill:currentColor;stroke:var(--surface);stroke-width:1.2}
.plot .hollow{fill:var(--surface);stroke:currentColor;stroke-width:1.8}
.plot .bar{stroke:currentColor;stroke-width:1.3;fill:none;opacity:.75}
.plot .band{fill:currentColor;stroke:none;opacity:.14}
.plot .tile{fill:currentColor;stroke:none}
.plot .tile-label{fill:var(--ink);paint-order:stroke;stroke:var(--surface);stroke-width:3px;stroke-linejoin:round;
  pointer-events:none}
.plot .faint .line{stroke-width:1;opacity:.4}.plot .faint .mark{opacity:.4}
.plot .series{transition:opacity .15s}
.plot:has(.series:hover) .series:not(:hover){opacity:.2}
.plot .mark:hover{stroke:var(--ink)}
)CSS";
}

}  // namespace subspect::experiments::report
