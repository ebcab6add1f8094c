// Composition of the report: which findings, plots and tables a run of each kind shows.
#include "experiments/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "experiments/deviations.h"
#include "experiments/report/charts.h"
#include "experiments/report/findings.h"
#include "experiments/report/markup.h"
#include "experiments/report/page.h"
#include "experiments/report/rows.h"
#include "experiments/report/run_files.h"
#include "experiments/report/seeds.h"
#include "experiments/report/support_tables.h"
#include "runtime/io/files.h"

namespace subspect::experiments::report {

namespace fs = std::filesystem;

namespace {

/// Names, draws and remembers the plots of one report.
class Gallery {
 public:
  /// The plots as figures of a grid; `prefix` (may be empty) goes before their file names.
  std::string figures(const std::vector<Plot>& plots, const std::string& prefix) {
    if (plots.empty()) return "";
    std::string out = "<div class=\"figures\">\n";
    for (const Plot& plot : plots) {
      const std::string stem = unused(prefix.empty() ? plot.name : slug(prefix) + "-" + plot.name);
      out += figure_html(plot, "plots/" + stem + ".svg");
      files_.emplace_back(stem + ".svg", standalone_svg(plot));
    }
    return out + "</div>\n";
  }

  /// Writes the files to `folder` and removes other SVG files there.
  void write(const fs::path& folder) const {
    fs::create_directories(folder);
    std::set<std::string> names;
    for (const auto& file : files_) {
      runtime::io::write_file_atomically(folder / file.first, file.second);
      names.insert(file.first);
    }
    std::vector<fs::path> stale;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".svg" && names.count(entry.path().filename().string()) == 0)
        stale.push_back(entry.path());
    }
    for (const fs::path& path : stale) fs::remove(path);
  }

 private:
  std::string unused(const std::string& stem) {
    std::string candidate = stem;
    for (int number = 2; !stems_.insert(candidate).second; ++number) candidate = fmt::format("{}-{}", stem, number);
    return candidate;
  }

  std::set<std::string> stems_;
  std::vector<std::pair<std::string, std::string>> files_;
};

/// A run within the report: the run itself, or a stage of the study.
struct Part {
  const RunFiles& run;
  std::string prefix;  ///< of plot files: the stage's name, or ""
  std::string folder;  ///< of its tables relative to the report: "stages/name/", or ""
};

std::string missing_table(const Part& part) {
  const std::string status = part.run.status.empty() ? "not begun" : part.run.status;
  return fmt::format("<p>There is no results.csv yet (status: {}).</p>\n", escape(status));
}

std::string tables(const Part& part) {
  std::string out;
  const auto add = [&](const std::optional<CsvTable>& table, const std::string& title, const std::string& file,
                       bool open) {
    if (!table || table->columns().empty()) return;
    const std::string summary =
        fmt::format("{} ({} {})", title, format_count(table->rows()), table->rows() == 1 ? "row" : "rows");
    out += details_html(summary, table_html(*table, summary, part.folder + file), open);
  };
  add(part.run.results, "Results", "results.csv", part.run.results && part.run.results->rows() <= 40);
  add(part.run.tensors, "Per tensor", "tensors.csv", false);
  add(part.run.spectra, "Spectra", "spectra.csv", false);
  for (const auto& other : part.run.others) add(other.second, other.first, other.first, false);
  return out;
}

void append(std::vector<Plot>& plots, std::vector<Plot> more) {
  std::move(more.begin(), more.end(), std::back_inserter(plots));
}

/// Every plot of a run of one kind.
std::vector<Plot> charts_of(const RunFiles& run) {
  std::vector<Plot> plots;
  if (run.kind == "finetune") return training_charts({&run});
  if (run.results && run.kind == "projection") plots = projection_charts(projection_tables(run));
  if (run.results && run.kind == "overlap") plots = overlap_charts(overlap_rows(*run.results));
  if (run.results && run.kind == "activations") plots = activation_charts(activation_rows(*run.results));
  if (run.results && run.kind == "steering") plots = steering_charts(steering_cells(*run.results));
  if (run.results && run.kind == "evaluate") plots = score_charts(score_rows(*run.results));
  if (run.results && is_formed(run.kind)) plots = formed_charts(run.kind, *run.results);
  if (const CsvTable* probes = run.other("probes.csv")) append(plots, probe_charts(probe_rows(*probes)));
  if (const CsvTable* angles = run.other("angles.csv")) append(plots, angle_charts(angle_rows(*angles)));
  if (run.spectra) {
    append(plots, spectrum_charts(spectrum_rows(*run.spectra)));
  }
  return plots;
}

/// The picture at the top, and the chart of which run it took away from that run's section, if any.
struct Picture {
  std::vector<Plot> plots;
  const RunFiles* run = nullptr;
  std::string name;
};

std::string part_html(const Part& part, const Picture& picture, Gallery& gallery) {
  const bool empty = part.run.kind != "finetune" && !part.run.results;
  std::vector<Plot> plots = charts_of(part.run);
  if (picture.run == &part.run) {
    plots.erase(std::remove_if(plots.begin(), plots.end(), [&](const Plot& plot) { return plot.name == picture.name; }),
                plots.end());
  }
  const std::string seeds =
      part.run.seeds_of.empty()
          ? ""
          : "<p>Means over the seeds. Intervals and bars of scores and overlaps are Student’s over "
            "the seeds here, not over prompts or draws; the tables of each seed are linked "
            "below.</p>\n";
  return (empty ? missing_table(part) : seeds) + gallery.figures(plots, part.prefix) + support_html(part.run) +
         tables(part);
}

std::string kind_title(const std::string& kind) {
  if (kind == "finetune") return "Fine-tuning";
  if (kind == "projection") return "Projection of the updates";
  if (kind == "overlap") return "Overlap of the updates";
  if (kind == "activations") return "Overlap of activations";
  if (kind == "steering") return "Steering along the direction of refusal";
  if (kind == "evaluate") return "Evaluation";
  if (kind == "arithmetic") return "Task arithmetic";
  if (kind == "ablation") return "Ablation of the updates";
  if (kind == "defence") return "Defence";
  return kind.empty() ? "Results" : kind;
}

/// The metrics of a fine-tuning as a sentence-like row for the study's table.
std::vector<std::string> training_row(const RunFiles& stage) {
  const auto last = [&](const char* name) {
    const auto* values = stage.metrics.find(name);
    return values == nullptr || values->empty() ? std::string() : fmt::format("{}", values->back());
  };
  return {stage.name, fmt::format("{}", stage.metrics.rows()), last("loss"), last("tokens"), last("seconds")};
}

Section training_section(const std::vector<const RunFiles*>& stages, Gallery& gallery) {
  std::string html = gallery.figures(training_charts(stages), "");
  std::vector<std::vector<std::string>> rows;
  for (const RunFiles* stage : stages) rows.push_back(training_row(*stage));
  const CsvTable table({"stage", "steps", "last_loss", "tokens", "seconds"}, std::move(rows));
  html += table_html(table, "Fine-tunings", "");
  return {"finetune", kind_title("finetune"), html};
}

/// A time of the stage's environment, "" where it is not set.
std::string time_of(const RunFiles& stage, std::string_view key) {
  const std::string value = stage.environment_value(key);
  return value == "null" ? "" : value;
}

Section stages_section(const RunFiles& study) {
  std::vector<std::vector<std::string>> rows;
  for (const RunFiles& stage : study.stages) {
    rows.push_back({stage.name, stage.kind, stage.status, time_of(stage, "started"), time_of(stage, "ended")});
  }
  const CsvTable table({"stage", "kind", "status", "started", "ended"}, std::move(rows));
  return {"stages", "Stages", table_html(table, "Stages", "")};
}

std::vector<Section> study_sections(const RunFiles& study, const Picture& picture, Gallery& gallery) {
  std::vector<Section> sections;
  std::vector<const RunFiles*> trained;
  for (const std::string kind :
       {"projection", "arithmetic", "ablation", "defence", "overlap", "activations", "steering", "evaluate"}) {
    const auto siblings = std::count_if(study.stages.begin(), study.stages.end(),
                                        [&](const RunFiles& s) { return s.kind == kind && s.results; });
    for (const RunFiles& stage : study.stages) {
      if (stage.kind != kind || !stage.results) continue;
      const std::string folder =
          stage.seeds_of.empty() ? "stages/" + stage.folder.filename().string() + "/" : "seeds/" + stage.seeds_of + "/";
      const Part part{stage, stage.name, folder};
      const std::string title = siblings > 1 ? fmt::format("{}: {}", kind_title(kind), stage.name) : kind_title(kind);
      sections.push_back({"stage-" + slug(stage.name), title, part_html(part, picture, gallery)});
    }
  }
  for (const RunFiles& stage : study.stages) {
    if (stage.kind == "finetune" && stage.metrics.rows() > 0) trained.push_back(&stage);
  }
  if (!trained.empty()) sections.push_back(training_section(trained, gallery));
  sections.push_back(stages_section(study));
  return sections;
}

/// The picture at the top: of the first projection there is, else the first chart of another run.
Picture choose_picture(const RunFiles& run) {
  std::vector<const RunFiles*> runs{&run};
  for (const RunFiles& stage : run.stages) runs.push_back(&stage);
  for (const std::string kind : {"projection", "overlap", "activations", "steering", "arithmetic", "ablation",
                                 "defence", "evaluate", "finetune"}) {
    for (const RunFiles* each : runs) {
      if (each->kind != kind) continue;
      const bool projected = kind == "projection" && each->results;
      std::vector<Plot> plots = projected ? projection_picture(projection_tables(*each)) : charts_of(*each);
      if (plots.empty()) continue;
      if (projected) return {std::move(plots), nullptr, ""};
      plots.resize(1);
      const std::string name = plots.front().name;
      return {std::move(plots), each, name};
    }
  }
  return {};
}

std::string settings_html(const RunFiles& run) {
  std::string out;
  if (!run.config.empty()) {
    out += details_html("Configuration (config.yaml)",
                        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Configuration\"><pre>" +
                            escape(run.config) + "</pre></div>\n");
  }
  if (!run.environment.empty()) out += details_html("Environment (environment.json)", pairs_html(run.environment));
  for (const RunFiles& stage : run.stages) {
    if (stage.config.empty()) continue;
    out += details_html(fmt::format("Configuration of {}", stage.name),
                        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Configuration\"><pre>" +
                            escape(stage.config) + "</pre></div>\n");
  }
  return out;
}

/// "2025-01-02T03:04:05Z" as "2025-01-02 03:04 UTC"; other texts as they are.
std::string readable_time(const std::string& text) {
  const bool utc = text.size() == 20 && text[10] == 'T' && text.back() == 'Z';
  return utc ? text.substr(0, 10) + " " + text.substr(11, 5) + " UTC" : text;
}

/// Status, device, version and start, as far as the environment has them.
std::vector<std::string> page_facts(const RunFiles& run) {
  std::vector<std::string> facts;
  const auto add = [&](const std::string& before, const std::string& value) {
    if (!value.empty() && value != "null") facts.push_back(before + shorten(value, 60));
  };
  add("", run.status);
  add("on ", run.environment_value("device"));
  add("subspect ", run.environment_value("version"));
  add("commit ", run.environment_value("git_hash").substr(0, 12));
  add("seed ", run.environment_value("seed"));
  add("begun ", readable_time(run.environment_value("started")));
  add("ended ", readable_time(run.environment_value("ended")));
  return facts;
}

}  // namespace

/// Says which published mistakes were made on purpose; empty where none was.
std::string deviations_html(const RunFiles& run) {
  const std::vector<std::string> deviations =
      run.config.empty() ? std::vector<std::string>() : deviations_of(run.config);
  if (deviations.empty()) return "";
  std::string out = "<div class=\"deviations\"><p>This run deviates from the method on purpose:</p>\n<ul>\n";
  for (const std::string& deviation : deviations) out += fmt::format("<li>{}</li>\n", escape(deviation));
  return out + "</ul></div>\n";
}

void write_report(const fs::path& run_dir) {
  RunFiles run = read_run(run_dir);
  run.stages = folded_stages(run.stages);
  Gallery gallery;
  Page page;
  page.title = run.name;
  page.kicker = run.kind.empty() ? "subspect run" : "subspect " + run.kind;
  page.facts = page_facts(run);
  const std::vector<Finding> findings = run_findings(run);
  page.headline = headline(findings);
  const Picture picture = choose_picture(run);
  page.opening = deviations_html(run) + "<div class=\"opening\">\n" + gallery.figures(picture.plots, "") +
                 findings_html(findings) + "</div>\n";
  if (run.kind == "study") {
    page.sections = study_sections(run, picture, gallery);
  } else {
    page.sections.push_back({"results", kind_title(run.kind), part_html({run, "", ""}, picture, gallery)});
  }
  const std::string settings = settings_html(run);
  if (!settings.empty()) page.sections.push_back({"settings", "Configuration and environment", settings});
  gallery.write(run_dir / "plots");
  runtime::io::write_file_atomically(run_dir / "report.html", page_html(page));
}

}  // namespace subspect::experiments::report
