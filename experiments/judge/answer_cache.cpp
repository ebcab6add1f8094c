// One table in one file. The rollback journal and not the write-ahead log, which network file systems do not support.
#include "experiments/judge/answer_cache.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include "runtime/error.h"
#include "runtime/io/hash.h"

namespace subspect::experiments {

namespace {

using Statement = std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)>;

Statement prepare(sqlite3* database, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(database, sql, -1, &statement, nullptr);
  return {statement, &sqlite3_finalize};
}

void bind(sqlite3_stmt* statement, int index, const std::string& text) {
  sqlite3_bind_text64(statement, index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

}  // namespace

AnswerCache::AnswerCache(const std::filesystem::path& folder) {
  constexpr int busy_milliseconds = 30'000;
  if (!folder.empty()) {
    std::error_code code;
    std::filesystem::create_directories(folder, code);  // what went wrong, opening the file says
    file_ = folder / "answers.sqlite";
  }
  if (sqlite3_open(file_.empty() ? ":memory:" : file_.c_str(), &database_) != SQLITE_OK) {
    const std::string what = database_ != nullptr ? sqlite3_errmsg(database_) : "out of memory";
    sqlite3_close(database_);
    throw runtime::Error("cannot open the judge's answers: " + what, file_.string(), "check the folder's permissions");
  }
  sqlite3_busy_timeout(database_, busy_milliseconds);
  try {
    execute("PRAGMA synchronous = FULL");
    execute(
        "CREATE TABLE IF NOT EXISTS answers (hash TEXT PRIMARY KEY, question TEXT, answer TEXT, tokens INTEGER) "
        "WITHOUT "
        "ROWID");
  } catch (...) {
    sqlite3_close(database_);
    throw;
  }
}

AnswerCache::~AnswerCache() {
  sqlite3_close(database_);
}

void AnswerCache::fail() const {
  throw runtime::Error(fmt::format("the judge's answers cannot be used: {}", sqlite3_errmsg(database_)), file_.string(),
                       "free disk space, or remove the file when it is damaged (its answers are then asked again)");
}

void AnswerCache::execute(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

std::optional<std::string> AnswerCache::find(const std::string& question) const {
  const std::lock_guard lock(mutex_);
  const Statement statement = prepare(database_, "SELECT answer FROM answers WHERE hash = ?");
  if (!statement) fail();
  bind(statement.get(), 1, runtime::io::sha256(question));
  const int found = sqlite3_step(statement.get());
  if (found == SQLITE_DONE) return std::nullopt;
  if (found != SQLITE_ROW) fail();
  const auto* text = static_cast<const char*>(sqlite3_column_blob(statement.get(), 0));
  const auto bytes = static_cast<size_t>(sqlite3_column_bytes(statement.get(), 0));
  return text == nullptr ? std::string() : std::string(text, bytes);
}

void AnswerCache::store(const std::string& question, const std::string& answer, int64_t tokens) {
  const std::lock_guard lock(mutex_);
  const Statement statement = prepare(database_, "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)");
  if (!statement) fail();
  bind(statement.get(), 1, runtime::io::sha256(question));
  bind(statement.get(), 2, question);
  bind(statement.get(), 3, answer);
  sqlite3_bind_int64(statement.get(), 4, tokens);
  if (sqlite3_step(statement.get()) != SQLITE_DONE) fail();
}

int64_t AnswerCache::tokens() const {
  const std::lock_guard lock(mutex_);
  const Statement statement = prepare(database_, "SELECT SUM(tokens) FROM answers");
  if (!statement || sqlite3_step(statement.get()) != SQLITE_ROW) fail();
  return sqlite3_column_int64(statement.get(), 0);
}

}  // namespace subspect::experiments
