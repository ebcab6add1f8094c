// Finding models in directories and in a Hugging Face cache made for the test.
#include "model/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "model/checkpoint.h"
#include "runtime/error.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using Values = std::map<std::string, std::string>;

/// Sets environment variables, and puts back what was there.
class Environment {
 public:
  explicit Environment(const Values& values) {
    for (const char* name : {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"}) {
      const char* old = std::getenv(name);
      if (old != nullptr) old_[name] = old;
      unsetenv(name);
      names_.emplace_back(name);
    }
    for (const auto& [name, value] : values) setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const std::string& name : names_) unsetenv(name.c_str());
    for (const auto& [name, value] : old_) setenv(name.c_str(), value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::vector<std::string> names_;
  Values old_;
};

std::string error_of(const std::string& text) {
  try {
    find_model(text);
  } catch (const runtime::Error& error) {
    return error.what();
  }
  return "no error";
}

/// cache/models--Qwen--Tiny with main at commit abc123.
void fill_cache(const fs::path& cache) {
  const fs::path repository = cache / "models--Qwen--Tiny";
  fs::create_directories(repository / "refs");
  fs::create_directories(repository / "snapshots" / "abc123");
  testing::write_text(repository / "refs" / "main", "abc123");
  testing::write_text(repository / "snapshots" / "abc123" / "config.json", testing::small_config());
}

TEST(HubTest, CacheIsWhereHuggingFacePutsIt) {
  {
    const Environment environment(Values{{"HF_HOME", "/a"}});
    EXPECT_EQ(hub_cache(), "/a/hub");
  }
  {
    const Environment environment(Values{{"HF_HOME", "/a"}, {"HF_HUB_CACHE", "/b"}});
    EXPECT_EQ(hub_cache(), "/b");
  }
  {
    const Environment environment(Values{{"XDG_CACHE_HOME", "/c"}});
    EXPECT_EQ(hub_cache(), "/c/huggingface/hub");
  }
}

TEST(HubTest, FindsCachedSnapshots) {
  const testing::TemporaryDirectory temporary;
  fill_cache(temporary.path());
  const Environment environment(Values{{"HF_HUB_CACHE", temporary.path()}});
  const fs::path snapshot = temporary.path() / "models--Qwen--Tiny" / "snapshots" / "abc123";
  EXPECT_EQ(find_model("Qwen/Tiny"), snapshot);
  EXPECT_EQ(find_model("Qwen/Tiny@main"), snapshot);
  EXPECT_EQ(find_model("Qwen/Tiny@abc123"), snapshot);
  EXPECT_THAT(error_of("Qwen/Tiny@v2"), HasSubstr("hf download Qwen/Tiny --revision v2"));
}

TEST(HubTest, SaysHowToDownloadWhatIsNotThere) {
  const testing::TemporaryDirectory temporary;
  {
    const Environment environment(Values{{"HF_HUB_CACHE", temporary.path()}});
    EXPECT_THAT(error_of("Qwen/Absent"), AllOf(HasSubstr("Qwen/Absent"), HasSubstr(temporary.path().string()),
                                               HasSubstr("hf download Qwen/Absent"), Not(HasSubstr("OFFLINE"))));
  }
  const Environment environment(Values{{"HF_HUB_CACHE", temporary.path()}, {"HF_HUB_OFFLINE", "1"}});
  EXPECT_THAT(error_of("Qwen/Absent"), HasSubstr("HF_HUB_OFFLINE"));
}

TEST(HubTest, PathsAreNotTakenForHubIds) {
  for (const char* text : {"/no/such/dir", "./missing", "a/b/c", "../x", "~/missing", "", "a/..", "bad name/x"}) {
    EXPECT_THAT(error_of(text), HasSubstr("no such model directory")) << text;
  }
  const testing::TemporaryDirectory temporary;
  EXPECT_THAT(error_of(temporary.path()), HasSubstr("no config.json"));
  EXPECT_EQ(find_model(testing::fixture("qwen3")), testing::fixture("qwen3"));
}

TEST(HubTest, OpensDirectoriesAndRandomWeights) {
  const ModelSource stored{.name = testing::fixture("qwen3"), .config = {}, .tokenizer = {}};
  EXPECT_EQ(open_model(testing::cpu(), stored).config().model_type, "qwen3");
  EXPECT_EQ(source_tokenizer_directory(stored), testing::fixture("qwen3"));
  const testing::TemporaryDirectory temporary;
  testing::write_text(temporary.path() / "tiny.json", testing::small_config());
  const ModelSource random{.name = "", .config = temporary.path() / "tiny.json", .tokenizer = "tok"};
  EXPECT_EQ(source_config(random).hidden_size, 32);
  EXPECT_EQ(source_tokenizer_directory(random), "tok");
  const Decoder a = open_model(testing::cpu(), random, runtime::DType::float32, 1);
  const Decoder b = open_model(testing::cpu(), random, runtime::DType::float32, 2);
  EXPECT_GT(testing::relative_error(a.parameters()[0]->value, b.parameters()[0]->value), 0.1);
}

}  // namespace
}  // namespace subspect::model
