// Damaged JSON is an error that names the file and the byte.
#include "runtime/io/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace subspect::runtime::io {
namespace {

std::string error_of(const std::string& text) {
  try {
    parse_json_object(text, "folder/config.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Json, ReadsAnObject) {
  EXPECT_EQ(parse_json_object(R"({"layers": 2})", "config.json").at("layers"), 2);
  EXPECT_EQ(parse_json("[1, 2]", "list.json", "").size(), 2U);
}

TEST(Json, NamesTheFileAndTheByteOfDamage) {
  EXPECT_THAT(error_of(R"({"layers": )"), ::testing::AllOf(::testing::HasSubstr("not valid JSON at byte 12"),
                                                           ::testing::HasSubstr("folder/config.json")));
  EXPECT_THAT(error_of(R"({"layers": 1e999})"), ::testing::HasSubstr("not valid JSON: "));
  EXPECT_THAT(error_of("[]"), ::testing::HasSubstr("a JSON object is required"));
}

}  // namespace
}  // namespace subspect::runtime::io
