// Renders reports in headless Chromium at two widths and in both themes: plots are there, nothing overflows, no error
// is logged, nothing is fetched, tables sort. Skipped where there is no Chromium or Python.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/report/report.h"
#include "tests/experiments/report/synthetic_runs.h"

namespace subspect::experiments::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using namespace testing;

constexpr int no_chromium = 3;

std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

struct Rendering {
  int exit_code = -1;
  json page;
};

Rendering render(const fs::path& page, int width, const std::string& theme,
                 const std::vector<std::string>& scripts = {}) {
  std::string command =
      fmt::format("python3 {} {} --width {} --theme {}", shell_quoted(SUBSPECT_SOURCE_DIR "/tools/render_report.py"),
                  shell_quoted(page.string()), width, theme);
  for (const std::string& script : scripts) command += " --evaluate " + shell_quoted(script);
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::string output;
  char chunk[4096];
  for (size_t got = 0; (got = fread(chunk, 1, sizeof chunk, pipe)) > 0;) output.append(chunk, got);
  const int status = pclose(pipe);
  Rendering rendering;
  rendering.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (rendering.exit_code == 0) rendering.page = json::parse(output, nullptr, false);
  return rendering;
}

bool has_python() {
  return std::system("command -v python3 >/dev/null 2>&1") == 0;
}

struct Case {
  std::string kind;
  size_t plots;  ///< at least so many
};

class ReportRender : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!has_python()) GTEST_SKIP() << "there is no python3 to drive the browser";
    Effect effect;
    const std::string kind = GetParam().kind;
    if (kind == "finetune") make_finetune(folder_.path(), 600, 0.3);
    if (kind == "overlap") make_overlap(folder_.path());
    if (kind == "activations") make_activations(folder_.path());
    if (kind == "arithmetic") make_arithmetic(folder_.path());
    if (kind == "ablation") make_ablation(folder_.path());
    if (kind == "defence") make_safelora(folder_.path());
    if (kind == "steering") make_steering(folder_.path());
    if (kind == "evaluate") make_evaluate(folder_.path());
    if (kind == "projection") {
      effect.extra_model = hostile_name;
      make_projection(folder_.path(), effect);
    }
    if (kind == "study") make_study(folder_.path(), effect);
    write_report(folder_.path());
  }

  fs::path page() const { return folder_.path() / "report.html"; }

  TemporaryFolder folder_;
};

void expect_sound(const json& page, int width, size_t least_plots) {
  EXPECT_EQ(page["width"], width);
  EXPECT_LE(page["scroll_width"].get<int>(), width);
  EXPECT_EQ(page["overflowing"], json::array());
  EXPECT_EQ(page["errors"], json::array());
  EXPECT_EQ(page["requests"], json::array());
  EXPECT_GE(page["plots"].size(), least_plots);
  for (const json& plot : page["plots"]) {
    const std::string label = plot["label"];
    EXPECT_GT(plot["width"].get<double>(), 250) << label;
    EXPECT_GT(plot["height"].get<double>(), 200) << label;
    EXPECT_GE(plot["text"].get<double>(), 11) << label << ": text too small to read";
    EXPECT_EQ(plot["cut"], json::array()) << label << ": text is cut off";
    EXPECT_GT(plot["series"].get<int>(), 0) << label;
  }
}

TEST_P(ReportRender, IsSoundAtBothWidthsAndThemes) {
  struct View {
    int width;
    const char* theme;
  };
  for (const View& view : {View{1280, "light"}, View{390, "dark"}}) {
    SCOPED_TRACE(fmt::format("{} px, {}", view.width, view.theme));
    const std::string background = "getComputedStyle(document.body).backgroundColor";
    const Rendering rendering =
        render(page(), view.width, view.theme,
               {"document.querySelectorAll('details').forEach(d => d.open = true),"
                "document.documentElement.scrollWidth",
                "typeof window.hacked", background,
                "document.getElementById('theme').click(), document.getElementById('theme').click(), " + background});
    if (rendering.exit_code == no_chromium) GTEST_SKIP() << "there is no Chromium";
    ASSERT_EQ(rendering.exit_code, 0);
    expect_sound(rendering.page, view.width, GetParam().plots);
    const json& results = rendering.page["results"];
    EXPECT_LE(results[0].get<int>(), view.width) << "with all details open";
    EXPECT_EQ(results[1], "undefined") << "a name of the table ran as a script";
    const bool dark = std::string(view.theme) == "dark";
    EXPECT_EQ(results[2], dark ? "rgb(18, 21, 24)" : "rgb(248, 246, 241)");
    EXPECT_EQ(results[3], "rgb(18, 21, 24)") << "auto -> light -> dark by the button";
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, ReportRender,
                         ::testing::Values(Case{"finetune", 4}, Case{"projection", 10}, Case{"overlap", 5},
                                           Case{"activations", 5}, Case{"arithmetic", 3}, Case{"ablation", 5},
                                           Case{"defence", 3}, Case{"steering", 4}, Case{"evaluate", 4},
                                           Case{"study", 31}),
                         [](const auto& instance) { return instance.param.kind; });

TEST(ReportSorting, HeadingsSortNumbersAndTextsWithEmptyCellsLast) {
  if (!has_python()) GTEST_SKIP() << "there is no python3 to drive the browser";
  TemporaryFolder folder;
  write_text(folder.path() / "environment.json", R"({"kind": "evaluate", "status": "finished"})");
  write_text(folder.path() / "results.csv",
             "model,task,metric,value,stderr,n\nm10,t,perplexity,9.5,,1\nm9,t,perplexity,,,1\nm1,t,perplexity,100,,1\n"
             "m2,t,perplexity,-3,,1\n");
  write_report(folder.path());
  const std::string read =
      "[...document.querySelector('table.sortable').tBodies[0].rows].map(r => r.cells[0].textContent).join()";
  const auto click = [&](int column) {
    return fmt::format("document.querySelectorAll('table.sortable th button')[{}].click(), {}", column, read);
  };
  const std::string state = "document.querySelectorAll('table.sortable th')[0].getAttribute('aria-sort')";
  const std::string focusable = "document.querySelector('table.sortable th button').tabIndex";
  const Rendering rendering = render(folder.path() / "report.html", 1280, "light",
                                     {read, click(3), click(3), click(0), state, click(0), state, focusable});
  if (rendering.exit_code == no_chromium) GTEST_SKIP() << "there is no Chromium";
  ASSERT_EQ(rendering.exit_code, 0);
  EXPECT_EQ(rendering.page["results"], json::array({"m10,m9,m1,m2", "m2,m10,m1,m9", "m1,m10,m2,m9", "m1,m2,m9,m10",
                                                    "ascending", "m10,m9,m2,m1", "descending", 0}));
}

}  // namespace
}  // namespace subspect::experiments::report
