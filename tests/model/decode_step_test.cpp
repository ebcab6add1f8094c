// Decoding steps in shapes that are larger than what runs: rows and pages that nobody uses change nothing.
#include "model/generation/decode_step.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/error.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

/// Sequences of one token each that are decoded together, by steps of one shape.
class Decoding {
 public:
  static constexpr int64_t room = 64;  // tokens of a sequence

  Decoding(Decoder& decoder, std::vector<int32_t> first_tokens, SamplingOptions sampling)
      : decoder_(decoder),
        cache_(testing::cpu(), decoder.config(), decoder.dtype(), room * static_cast<int64_t>(first_tokens.size())),
        sampling_(sampling) {
    for (const int32_t token : first_tokens) {
      tokens_.push_back({token});
      pages_.push_back(cache_.take(room));
    }
  }

  std::vector<DecodeRow> rows() const {
    std::vector<DecodeRow> rows;
    for (size_t i = 0; i < tokens_.size(); ++i) {
      rows.push_back({.sampling = {.sequence = static_cast<int64_t>(i),
                                   .position = static_cast<int64_t>(tokens_[i].size()),
                                   .tokens = tokens_[i]},
                      .pages = &pages_[i]});
    }
    return rows;
  }

  std::vector<std::vector<int32_t>> decode(DecodeStep::Shape shape, int steps) {
    DecodeStep step(testing::cpu(), decoder_, cache_, sampling_, shape);
    for (int i = 0; i < steps; ++i) {
      const std::vector<int32_t> chosen = step.run(rows());
      EXPECT_EQ(chosen.size(), tokens_.size());
      for (size_t row = 0; row < chosen.size(); ++row) tokens_[row].push_back(chosen[row]);
    }
    return tokens_;
  }

 private:
  Decoder& decoder_;
  KvCache cache_;
  SamplingOptions sampling_;
  std::vector<std::vector<int32_t>> tokens_;
  std::vector<PageList> pages_;
};

TEST(DecodeStepTest, UnusedRowsAndPagesChangeNothing) {
  Decoder decoder = testing::small_decoder(5);
  const std::vector<int32_t> first = {7, 60, 21};
  for (const SamplingOptions& sampling :
       {SamplingOptions{}, SamplingOptions{.repetition_penalty = 1.3},
        SamplingOptions{.temperature = 1.0, .top_k = 20, .top_p = 0.9, .repetition_penalty = 1.1, .seed = 9}}) {
    const auto exact = Decoding(decoder, first, sampling).decode({.rows = 3, .pages = 3}, 40);
    EXPECT_EQ(Decoding(decoder, first, sampling).decode({.rows = 8, .pages = 16}, 40), exact);
    // One after the other: a row's result is its own.
    for (size_t row = 0; row < first.size() && sampling.temperature == 0; ++row) {
      EXPECT_EQ(Decoding(decoder, {first[row]}, sampling).decode({.rows = 1, .pages = 3}, 40)[0], exact[row]);
    }
  }
}

TEST(DecodeStepTest, ThePenaltyReadsAllTokens) {
  Decoder decoder = testing::small_decoder(6);
  // So strong a penalty leaves no token chosen twice while others have a chance.
  const auto tokens = Decoding(decoder, {1, 2}, {.repetition_penalty = 1e6}).decode({.rows = 4, .pages = 4}, 24);
  for (const std::vector<int32_t>& sequence : tokens) {
    std::vector<int32_t> sorted = sequence;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(std::unique(sorted.begin(), sorted.end()), sorted.end());
  }
}

TEST(DecodeStepTest, ShapesOfAGpuRepeat) {
  Decoder decoder = testing::small_decoder(7);
  const runtime::Device gpu{runtime::DeviceType::cuda, 0};
  const auto shape = [&](size_t sequences, runtime::Device device) {
    const Decoding decoding(decoder, std::vector<int32_t>(sequences, 1), {});
    return DecodeStep::shape_of(device, decoding.rows());
  };
  EXPECT_EQ(shape(5, {}), (DecodeStep::Shape{.rows = 5, .pages = 1}));
  EXPECT_EQ(shape(1, gpu), (DecodeStep::Shape{.rows = 1, .pages = 8}));
  EXPECT_EQ(shape(5, gpu), (DecodeStep::Shape{.rows = 8, .pages = 8}));
  EXPECT_EQ(shape(17, gpu), (DecodeStep::Shape{.rows = 24, .pages = 8}));
  EXPECT_EQ(shape(65, gpu), (DecodeStep::Shape{.rows = 96, .pages = 8}));
}

TEST(DecodeStepTest, WhatDoesNotFitIsRefused) {
  Decoder decoder = testing::small_decoder(8);
  Decoding decoding(decoder, {1, 2, 3}, {});
  EXPECT_THROW(decoding.decode({.rows = 2, .pages = 1}, 1), runtime::Error);
  EXPECT_THROW(decoding.decode({.rows = 3, .pages = 1}, 17), runtime::Error);  // the 17th token needs a second page
}

}  // namespace
}  // namespace subspect::model
