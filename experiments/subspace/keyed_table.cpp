// Rows by key.
#include "experiments/subspace/keyed_table.h"

#include <utility>

namespace subspect::experiments::subspace {

KeyedTable::KeyedTable(Table table, std::vector<std::string> keys) : table_(std::move(table)), keys_(std::move(keys)) {
  for (const Row& row : table_.rows()) {
    NamedCells cells;
    for (const std::string& key : keys_) cells.emplace_back(key, table_.cell(row, key));
    known_.insert(key_of(cells));
  }
}

void KeyedTable::append(const NamedCells& cells) {
  if (known_.insert(key_of(cells)).second) table_.append(cells);
}

void KeyedTable::write() {
  table_.write();
  written_ = std::chrono::steady_clock::now();
}

void KeyedTable::write_now_and_then() {
  if (std::chrono::steady_clock::now() - written_ > std::chrono::seconds(2)) write();
}

std::string KeyedTable::key_of(const NamedCells& cells) const {
  std::string key;
  for (const std::string& column : keys_) {
    for (const auto& cell : cells) {
      if (cell.first == column) key += cell.second.text();
    }
    key += '\x1f';
  }
  return key;
}

NamedCells joined(NamedCells cells, const NamedCells& more) {
  cells.insert(cells.end(), more.begin(), more.end());
  return cells;
}

}  // namespace subspect::experiments::subspace
