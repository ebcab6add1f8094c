// Answers of judges, kept by what was asked, so that no question is paid for or computed twice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

struct sqlite3;

namespace subspect::experiments {

/// An SQLite database of answers by the SHA-256 of the question, with what each cost. An answer is on the disk when
/// `store` returns; several processes may use one. Thread-safe.
class AnswerCache {
 public:
  /// Opens `folder/answers.sqlite`, made where it is missing; an empty folder: kept in memory only. Throws Error naming
  /// the file when it is no such database or cannot be written.
  explicit AnswerCache(const std::filesystem::path& folder);
  ~AnswerCache();
  AnswerCache(const AnswerCache&) = delete;
  AnswerCache& operator=(const AnswerCache&) = delete;

  std::optional<std::string> find(const std::string& question) const;
  /// @param tokens what the answer cost, question and answer together; 0 where it is not known.
  void store(const std::string& question, const std::string& answer, int64_t tokens = 0);
  /// Tokens of all answers in the database.
  int64_t tokens() const;

 private:
  [[noreturn]] void fail() const;
  void execute(const char* sql);

  std::filesystem::path file_;
  mutable std::mutex mutex_;
  sqlite3* database_ = nullptr;
};

}  // namespace subspect::experiments
