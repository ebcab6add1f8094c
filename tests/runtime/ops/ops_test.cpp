// Every differentiable op: gradients against finite differences, bfloat16 against float32, and its checks.
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/gated_activation.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/ops/rotary.h"
#include "tests/runtime/ops/gradient_check.h"

namespace subspect::runtime::ops {
namespace {

using runtime::testing::GradientCheck;
using runtime::testing::Op;
using Inputs = std::vector<Variable>;
using Parameters = std::vector<Parameter>;

Tensor integers(Stream& stream, std::vector<int32_t> values) {
  return Tensor::from_host<int32_t>(stream, values, {static_cast<int64_t>(values.size())});
}

// A case: its operands and its op. Both checks run on each.
struct Case {
  const char* name;
  void (*operands)(GradientCheck& check);
  std::vector<Variable> (*op)(const Execution& on, const Inputs& x, Parameters& p);
};

RotaryParams rotary_params(const Execution& on) {
  const std::vector<float> inv_freq = {1.0F, 0.3F, 0.05F};
  return {.heads = 3,
          .kv_heads = 1,
          .head_dim = 6,
          .rotary_dim = 6,
          .inv_freq = Tensor::from_host<float>(on.stream, inv_freq, {3}),
          .attention_factor = 1.25F,
          .positions = integers(on.stream, {0, 1, 2, 3, 0, 1, 2})};
}

AttentionParams attention_params(const Execution& on, int64_t window) {
  return {.heads = 4,
          .kv_heads = 2,
          .head_dim = 5,
          .cu_seqlens = integers(on.stream, {0, 4, 5, 11}),
          .max_len = 6,
          .scale = 0.4F,
          .sliding_window = window};
}

const Case cases[] = {
    {"add",
     [](GradientCheck& check) {
       check.input({3, 5});
       check.input({3, 5});
     },
     [](const Execution& on, const Inputs& x, Parameters&) -> Inputs { return {add(on, x[0], x[1])}; }},
    {"add_to_itself",
     [](GradientCheck& check) {
       check.input({4, 3});
     },
     [](const Execution& on, const Inputs& x, Parameters&) -> Inputs { return {add(on, add(on, x[0], x[0]), x[0])}; }},
    {"embedding",
     [](GradientCheck& check) {
       check.parameter({7, 5});
     },
     [](const Execution& on, const Inputs&, Parameters& p) -> Inputs {
       return {embedding(on, p[0], integers(on.stream, {3, 0, 6, 3, 3}))};
     }},
    {"rms_norm",
     [](GradientCheck& check) {
       check.input({5, 13});
       check.parameter({13}, 1.0);
     },
     [](const Execution& on, const Inputs& x, Parameters& p) -> Inputs { return {rms_norm(on, x[0], p[0], 1e-5F)}; }},
    {"add_rms_norm",
     [](GradientCheck& check) {
       check.input({5, 13});
       check.input({5, 13});
       check.parameter({13}, 1.0);
     },
     [](const Execution& on, const Inputs& x, Parameters& p) -> Inputs {
       const AddRmsNorm sum = add_rms_norm(on, x[0], x[1], p[0], 1e-5F);
       return {sum.residual, sum.normed};
     }},
    {"residual_only",  // no gradient reaches the normed output
     [](GradientCheck& check) {
       check.input({2, 3});
       check.input({2, 3});
     },
     [](const Execution& on, const Inputs& x, Parameters&) -> Inputs {
       static Parameter weight;
       weight.value = Tensor::zeros(on.stream, {3}, x[0].value.dtype());
       return {add_rms_norm(on, x[0], x[1], weight, 1e-5F).residual};
     }},
    {"linear",
     [](GradientCheck& check) {
       check.input({7, 5});
       check.parameter({3, 5});
     },
     [](const Execution& on, const Inputs& x, Parameters& p) -> Inputs { return {linear(on, x[0], p[0])}; }},
    {"linear_bias",
     [](GradientCheck& check) {
       check.input({7, 17});
       check.parameter({11, 17});
       check.parameter({11});
     },
     [](const Execution& on, const Inputs& x, Parameters& p) -> Inputs { return {linear(on, x[0], p[0], &p[1])}; }},
    {"rotary",
     [](GradientCheck& check) {
       check.input({7, 30});
     },
     [](const Execution& on, const Inputs& x, Parameters&) -> Inputs { return {rotary(on, x[0], rotary_params(on))}; }},
    {"rotary_norms",
     [](GradientCheck& check) {
       check.input({7, 30});
       check.parameter({6}, 1.0);
       check.parameter({6}, 1.0);
     },
     [](const Execution& on, const Inputs& x, Parameters& p) -> Inputs {
       RotaryParams params = rotary_params(on);
       params.q_norm = &p[0];
       params.k_norm = &p[1];
       return {rotary(on, x[0], params)};
     }},
    {"rotary_partial_in_place",  // the only reference is moved in, twice over
     [](GradientCheck& check) {
       check.input({7, 30});
       check.input({7, 30});
     },
     [](const Execution& on, const Inputs& x, Parameters&) -> Inputs {
       RotaryParams params = rotary_params(on);
       params.rotary_dim = 4;
       params.inv_freq = params.inv_freq.narrow(0, 0, 2);
       return {rotary(on, add(on, x[0], x[1]), params)};
     }},
    {"rotary_norms_moved_in",  // the backward pass needs the input, which must not be overwritten
     [](GradientCheck& check) {
       check.input({7, 30});
       check.input({7, 30});
       check.parameter({6}, 1.0);
       check.parameter({6}, 1.0);
     },
     [](const Execution& on, const Inputs& x, Parameters& p) -> Inputs {
       RotaryParams params = rotary_params(on);
       params.q_norm = &p[0];
       params.k_norm = &p[1];
       return {rotary(on, add(on, x[0], x[1]), params)};
     }},
    {"attention",
     [](GradientCheck& check) {
       check.input({11, 40});
     },
     [](const Execution& on, const Inputs& x, Parameters&) -> Inputs {
       return {attention(on, x[0], attention_params(on, 0))};
     }},
    {"attention_window",
     [](GradientCheck& check) {
       check.input({11, 40});
     },
     [](const Execution& on, const Inputs& x, Parameters&) -> Inputs {
       return {attention(on, x[0], attention_params(on, 3))};
     }},
    {"swiglu",
     [](GradientCheck& check) {
       check.input({5, 14});
     },
     [](const Execution& on, const Inputs& x, Parameters&) -> Inputs { return {swiglu(on, x[0])}; }},
    {"geglu",
     [](GradientCheck& check) {
       check.input({5, 14});
     },
     [](const Execution& on, const Inputs& x, Parameters&) -> Inputs {
       return {gated_activation(on, x[0], Activation::gelu_tanh)};
     }},
    {"residual_block",  // gradients of one variable arrive from several ops
     [](GradientCheck& check) {
       check.input({6, 8});
       check.parameter({8}, 1.0);
       check.parameter({12, 8});
       check.parameter({8, 6});
     },
     [](const Execution& on, const Inputs& x, Parameters& p) -> Inputs {
       const Variable normed = rms_norm(on, x[0], p[0], 1e-5F);
       const Variable hidden = linear(on, swiglu(on, linear(on, normed, p[1])), p[2]);
       return {add(on, add(on, hidden, normed), x[0])};
     }},
};

class OpsTest : public ::testing::TestWithParam<Case> {};

TEST_P(OpsTest, GradientMatchesFiniteDifferences) {
  GradientCheck check(1);
  GetParam().operands(check);
  check.finite_differences(GetParam().op);
}

TEST_P(OpsTest, Bfloat16AgreesWithFloat32) {
  GradientCheck check(2);
  GetParam().operands(check);
  check.bfloat16_agrees(GetParam().op);
}

INSTANTIATE_TEST_SUITE_P(AllOps, OpsTest, ::testing::ValuesIn(cases),
                         [](const ::testing::TestParamInfo<Case>& tested) { return std::string(tested.param.name); });

class OpChecksTest : public ::testing::Test {
 protected:
  Stream& stream() { return *stream_; }
  Tensor zeros(Shape shape, DType dtype = DType::float32) { return Tensor::zeros(stream(), std::move(shape), dtype); }
  Parameter parameter(Shape shape) {
    Parameter result;
    result.value = zeros(std::move(shape));
    return result;
  }
  Execution on() { return {stream(), nullptr}; }

 private:
  std::shared_ptr<Stream> stream_ = Stream::open(Device{}, 1);
};

TEST_F(OpChecksTest, WrongShapesAndTypesAreErrors) {
  Parameter weight = parameter({4, 3});
  EXPECT_THROW(linear(on(), {zeros({2, 5})}, weight), Error);
  EXPECT_THROW(linear(on(), {zeros({2, 3}, DType::bfloat16)}, weight), Error);
  EXPECT_THROW(linear(on(), {zeros({3, 2}).transpose()}, weight), Error);
  EXPECT_THROW(add(on(), {zeros({2, 3})}, {zeros({3, 2})}), Error);
  EXPECT_THROW(swiglu(on(), {zeros({2, 3})}), Error);
  EXPECT_THROW(embedding(on(), weight, zeros({2}, DType::int64)), Error);
  Parameter norm = parameter({4});
  EXPECT_THROW(rms_norm(on(), {zeros({2, 3})}, norm, 1e-5F), Error);
  EXPECT_THROW(rms_norm(on(), {zeros({2, 4}, DType::float16)}, norm, 1e-5F), Error);
  AttentionParams attention_shape = attention_params(on(), 0);
  EXPECT_THROW(attention(on(), {zeros({11, 41})}, attention_shape), Error);
  attention_shape.kv_heads = 3;
  EXPECT_THROW(attention(on(), {zeros({11, 50})}, attention_shape), Error);
  EXPECT_THROW(linear_cross_entropy(on(), {zeros({2, 3})}, weight, zeros({3}, DType::int32), 1), Error);
}

TEST_F(OpChecksTest, TokenIdsOutsideTheVocabularyAreNamed) {
  const std::vector<int32_t> ids = {0, 9, 10};
  EXPECT_NO_THROW(check_token_ids(ids, 11, "data.jsonl"));
  try {
    check_token_ids(ids, 10, "data.jsonl");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("token 2 has id 10"), std::string::npos) << error.what();
    EXPECT_EQ(error.where(), "data.jsonl");
  }
}

TEST_F(OpChecksTest, NothingIsRecordedWithoutATapeOrAWantedGradient) {
  Tape tape(stream());
  Parameter weight = parameter({4, 3});
  EXPECT_FALSE(linear({stream(), &tape}, {zeros({2, 3})}, weight).wants_grad());
  EXPECT_EQ(tape.nodes(), 0U);
  weight.allocate_grad(stream());
  EXPECT_TRUE(linear({stream(), &tape}, {zeros({2, 3})}, weight).wants_grad());
  EXPECT_EQ(tape.nodes(), 1U);
}

}  // namespace
}  // namespace subspect::runtime::ops
