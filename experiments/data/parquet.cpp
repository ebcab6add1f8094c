// Rows of Parquet files: Arrow decodes batches of columns, which are taken apart cell by cell.
#include "experiments/data/parquet.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "runtime/error.h"

namespace subspect::experiments {

using nlohmann::json;
using runtime::Error;

namespace {

constexpr int64_t batch_rows = 1024;

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what) {
  throw Error("cannot read the Parquet file: " + what, file.string(), "check that it is whole; download it again");
}

template <class T>
T value_or_fail(arrow::Result<T> result, const std::filesystem::path& file) {
  if (!result.ok()) fail(file, result.status().ToString());
  return std::move(result).ValueUnsafe();
}

/// The cells of one batch as JSON.
class Cells {
 public:
  explicit Cells(const RecordPlace& place) : place_(place) {}

  json at(const arrow::Array& array, int64_t i) const {
    if (array.IsNull(i)) return nullptr;
    using arrow::Type;
    switch (array.type_id()) {
      case Type::BOOL:
        return static_cast<const arrow::BooleanArray&>(array).Value(i);
      case Type::INT8:
        return number<arrow::Int8Array>(array, i);
      case Type::INT16:
        return number<arrow::Int16Array>(array, i);
      case Type::INT32:
        return number<arrow::Int32Array>(array, i);
      case Type::INT64:
        return number<arrow::Int64Array>(array, i);
      case Type::UINT8:
        return number<arrow::UInt8Array>(array, i);
      case Type::UINT16:
        return number<arrow::UInt16Array>(array, i);
      case Type::UINT32:
        return number<arrow::UInt32Array>(array, i);
      case Type::UINT64:
        return number<arrow::UInt64Array>(array, i);
      case Type::FLOAT:
        return number<arrow::FloatArray>(array, i);
      case Type::DOUBLE:
        return number<arrow::DoubleArray>(array, i);
      default:
        return other(array, i);
    }
  }

 private:
  template <class Array>
  static json number(const arrow::Array& array, int64_t i) {
    return static_cast<const Array&>(array).Value(i);
  }

  json text(std::string_view view) const {
    require_utf8(view, place_);
    return std::string(view);
  }

  json items(const arrow::Array& values, int64_t begin, int64_t length) const {
    json list = json::array();
    for (int64_t i = begin; i < begin + length; ++i) list.push_back(at(values, i));
    return list;
  }

  template <class List>
  json list(const arrow::Array& array, int64_t i) const {
    const auto& lists = static_cast<const List&>(array);
    return items(*lists.values(), lists.value_offset(i), lists.value_length(i));
  }

  json record(const arrow::StructArray& structs, int64_t i) const {
    json object = json::object();
    for (int field = 0; field < structs.num_fields(); ++field) {
      object[structs.struct_type()->field(field)->name()] = at(*structs.field(field), i);
    }
    return object;
  }

  json other(const arrow::Array& array, int64_t i) const {
    using arrow::Type;
    switch (array.type_id()) {
      case Type::STRING:
        return text(static_cast<const arrow::StringArray&>(array).GetView(i));
      case Type::LARGE_STRING:
        return text(static_cast<const arrow::LargeStringArray&>(array).GetView(i));
      case Type::STRING_VIEW:
        return text(static_cast<const arrow::StringViewArray&>(array).GetView(i));
      case Type::LIST:
        return list<arrow::ListArray>(array, i);
      case Type::LARGE_LIST:
        return list<arrow::LargeListArray>(array, i);
      case Type::FIXED_SIZE_LIST:
        return list<arrow::FixedSizeListArray>(array, i);
      case Type::STRUCT:
        return record(static_cast<const arrow::StructArray&>(array), i);
      case Type::DICTIONARY: {
        const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
        return at(*coded.dictionary(), coded.GetValueIndex(i));
      }
      default:
        return text(value_or_fail(array.GetScalar(i), place_.file)->ToString());
    }
  }

  const RecordPlace& place_;
};

bool read_batch(const arrow::RecordBatch& batch, RecordPlace& place, const RecordFunction& take) {
  const Cells cells(place);
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    json record = json::object();
    for (int column = 0; column < batch.num_columns(); ++column) {
      record[batch.column_name(column)] = cells.at(*batch.column(column), row);
    }
    if (!take(record, place)) return false;
    ++place.index;
  }
  return true;
}

}  // namespace

bool can_read_parquet() {
  return true;
}

bool read_parquet(const std::filesystem::path& file, const RecordFunction& take) {
  parquet::arrow::FileReaderBuilder builder;
  const arrow::Status opened = builder.OpenFile(file.string());
  if (!opened.ok()) fail(file, opened.ToString());
  const std::unique_ptr<parquet::arrow::FileReader> reader = value_or_fail(builder.Build(), file);
  reader->set_use_threads(false);
  reader->set_batch_size(batch_rows);
  const auto batches = value_or_fail(reader->GetRecordBatchReader(), file);
  RecordPlace place = {file.string(), 0, 0};
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    const arrow::Status read = batches->ReadNext(&batch);
    if (!read.ok()) fail(file, read.ToString());
    if (!batch) return true;
    const arrow::Status valid = batch->ValidateFull();
    if (!valid.ok()) fail(file, valid.ToString());
    if (!read_batch(*batch, place, take)) return false;
  }
}

}  // namespace subspect::experiments
