// KeyedTable: a table whose rows are identified by some of their columns, so that a resumed run appends only what is
// missing. Looking a row up costs the same however many there are.
#pragma once

#include <chrono>
#include <string>
#include <unordered_set>
#include <vector>

#include "experiments/table.h"

namespace subspect::experiments::subspace {

class KeyedTable {
 public:
  /// Rows already in the table count as there. @param keys columns that identify a row.
  KeyedTable(Table table, std::vector<std::string> keys);

  bool contains(const NamedCells& key) const { return known_.contains(key_of(key)); }
  /// Appends the row unless one with its key is there.
  void append(const NamedCells& cells);

  /// Replaces the CSV and JSON by the rows so far.
  void write();
  /// The same, at most every two seconds: the journal keeps every row anyway.
  void write_now_and_then();
  const Table& table() const { return table_; }

 private:
  std::string key_of(const NamedCells& cells) const;

  Table table_;
  std::chrono::steady_clock::time_point written_ = std::chrono::steady_clock::now();
  std::vector<std::string> keys_;
  std::unordered_set<std::string> known_;
};

/// `cells` followed by `more`.
NamedCells joined(NamedCells cells, const NamedCells& more);

}  // namespace subspect::experiments::subspace
