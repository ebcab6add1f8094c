// The linear layer on cuBLASLt (its stand-in) against the CPU, and the choice of algorithms.
#include "kernels/linear.h"

#include <cublasLt.h>

#include <fstream>
#include <sstream>

#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/matvec.h"
#include "kernels/cuda/tuning_file.h"
#include "tests/simt/libraries/support.h"

namespace subspect::kernels::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct LayerShape {
  int64_t rows, in, out;
};

/// Above and below the number of rows from which cuBLASLt multiplies; even, odd and long.
const std::vector<LayerShape> layer_shapes = {{1, 16, 24},   {8, 40, 7},   {9, 1, 1},     {9, 16, 24},
                                              {31, 127, 33}, {64, 64, 96}, {130, 65, 257}};

/// Errors grow with the depth of the sums.
double growth(int64_t depth) {
  return 8 + static_cast<double>(depth);
}

template <class From, class To>
struct TypePair {
  using Source = From;
  using Target = To;
};

template <class Pair>
class CudaLinearForward : public LibrariesCase {
 protected:
  using T = typename Pair::Source;
  using Y = typename Pair::Target;

  /// `offset`: elements between the beginning of each buffer and its matrix.
  void expect_equal(const LayerShape& s, bool biased, int64_t offset = 0) {
    SCOPED_TRACE(std::to_string(s.rows) + " x " + std::to_string(s.in) + " x " + std::to_string(s.out));
    const auto x = random_values<T>(s.rows * s.in + offset, 1);
    const auto weight = random_values<T>(s.out * s.in + offset, 2);
    const auto bias = random_values<T>(s.out + offset, 3);
    std::vector<Y> y(static_cast<size_t>(s.rows * s.out));
    linear_forward(context(),
                   LinearForwardParams<T, Y>{x.data() + offset, weight.data() + offset,
                                             biased ? bias.data() + offset : nullptr, y.data(), s.rows, s.in, s.out});
    const DeviceArray<T> d_x(x), d_weight(weight), d_bias(bias);
    const DeviceArray<Y> d_y(y.size() + static_cast<size_t>(offset));
    linear_forward(this->on(), LinearForwardParams<T, Y>{d_x.data() + offset, d_weight.data() + offset,
                                                         biased ? d_bias.data() + offset : nullptr, d_y.data() + offset,
                                                         s.rows, s.in, s.out});
    std::vector<Y> result = d_y.values();
    result.erase(result.begin(), result.begin() + offset);
    expect_close(result, widen(y), growth(s.in));
  }
};
using TypePairs = ::testing::Types<TypePair<float, float>, TypePair<bfloat16, bfloat16>, TypePair<bfloat16, float>>;
TYPED_TEST_SUITE(CudaLinearForward, TypePairs);

TYPED_TEST(CudaLinearForward, EqualsCpu) {
  for (const bool biased : {false, true}) {
    for (const LayerShape& shape : layer_shapes) this->expect_equal(shape, biased);
  }
}

TYPED_TEST(CudaLinearForward, UnalignedOperandsEqualCpu) {
  for (const bool biased : {false, true}) this->expect_equal({20, 24, 40}, biased, 1);
}

TYPED_TEST(CudaLinearForward, FewRowsNeedNoLibrary) {
  this->expect_equal({gpu::matvec_most_rows, 16, 8}, false);
  EXPECT_EQ(emulated::calls("cublasLtMatmul"), 0);
  this->expect_equal({gpu::matvec_most_rows + 1, 16, 8}, false);
  EXPECT_EQ(emulated::calls("cublasLtMatmul"), 1);
}

TYPED_TEST(CudaLinearForward, EmptyProductsEqualCpu) {
  this->expect_equal({0, 16, 8}, true);
  this->expect_equal({16, 16, 0}, true);
  this->expect_equal({16, 0, 8}, true);
  this->expect_equal({16, 0, 8}, false);
}

template <class T>
class CudaLinear : public LibrariesCase {
 protected:
  void expect_backward_input(const LayerShape& s, int64_t offset = 0) {
    const auto dy = random_values<T>(s.rows * s.out + offset, 1);
    const auto weight = random_values<T>(s.out * s.in + offset, 2);
    std::vector<T> dx(static_cast<size_t>(s.rows * s.in));
    linear_backward_input(context(), LinearBackwardInputParams<T>{dy.data() + offset, weight.data() + offset, dx.data(),
                                                                  s.rows, s.in, s.out});
    const DeviceArray<T> d_dy(dy), d_weight(weight), d_dx(dx.size());
    linear_backward_input(on(), LinearBackwardInputParams<T>{d_dy.data() + offset, d_weight.data() + offset,
                                                             d_dx.data(), s.rows, s.in, s.out});
    expect_close(d_dx.values(), widen(dx), growth(s.out));
  }

  void expect_backward_weight(const LayerShape& s, int64_t offset = 0) {
    const auto dy = random_values<T>(s.rows * s.out + offset, 1);
    const auto x = random_values<T>(s.rows * s.in + offset, 2);
    const auto before = random_values<float>(s.out * s.in, 3);
    std::vector<float> dweight = before;
    linear_backward_weight(context(), LinearBackwardWeightParams<T>{dy.data() + offset, x.data() + offset,
                                                                    dweight.data(), s.rows, s.in, s.out});
    const DeviceArray<T> d_dy(dy), d_x(x);
    const DeviceArray<float> d_dweight(before);
    linear_backward_weight(on(), LinearBackwardWeightParams<T>{d_dy.data() + offset, d_x.data() + offset,
                                                               d_dweight.data(), s.rows, s.in, s.out});
    expect_close(d_dweight.values(), widen(dweight), growth(s.rows));
  }
};
TYPED_TEST_SUITE(CudaLinear, StorageTypes, StorageNames);

TYPED_TEST(CudaLinear, BackwardEqualsCpu) {
  for (const LayerShape& shape : layer_shapes) {
    SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.in) + " x " + std::to_string(shape.out));
    this->expect_backward_input(shape);
    this->expect_backward_weight(shape);
  }
  this->expect_backward_input({20, 24, 40}, 1);
  this->expect_backward_weight({20, 24, 40}, 1);
}

TYPED_TEST(CudaLinear, EmptyBackwardEqualsCpu) {
  for (const LayerShape& shape : {LayerShape{0, 5, 6}, {7, 0, 6}, {7, 5, 0}}) {
    this->expect_backward_input(shape);
    this->expect_backward_weight(shape);
  }
}

TYPED_TEST(CudaLinear, TuningChangesNoResult) {
  this->open({.tune = true});
  for (int repeat = 0; repeat < 2; ++repeat) {
    this->expect_backward_input({20, 24, 40});
    this->expect_backward_weight({20, 24, 40});
  }
  EXPECT_THAT(this->libraries().take_warnings(), IsEmpty());
}

// ---- errors, caches, tuning: one product of 16 x 8 x 24 in float32

class CudaLibraries : public LibrariesCase {
 protected:
  void SetUp() override {
    LibrariesCase::SetUp();
    x_ = std::make_unique<DeviceArray<float>>(random_values<float>(16 * 24 + 1, 1));
    weight_ = std::make_unique<DeviceArray<float>>(random_values<float>(8 * 24, 2));
    y_ = std::make_unique<DeviceArray<float>>(16 * 8);
  }
  void TearDown() override {
    x_.reset();
    weight_.reset();
    y_.reset();
    LibrariesCase::TearDown();
  }

  void multiply(int64_t x_offset = 0, const float* bias = nullptr) {
    linear_forward(on(),
                   LinearForwardParams<float>{x_->data() + x_offset, weight_->data(), bias, y_->data(), 16, 24, 8});
  }

  std::vector<float> result() const { return y_->values(); }

  /// As `multiply` with the values that the buffers have.
  std::vector<float> expected(const std::vector<float>& bias = {}) const {
    const auto x = x_->values();
    const auto weight = weight_->values();
    std::vector<float> y(16 * 8);
    linear_forward(context(), LinearForwardParams<float>{x.data(), weight.data(), bias.empty() ? nullptr : bias.data(),
                                                         y.data(), 16, 24, 8});
    return y;
  }

  void expect_right() const { expect_close(result(), widen(expected())); }

 private:
  std::unique_ptr<DeviceArray<float>> x_, weight_, y_;
};

TEST_F(CudaLibraries, MissingHandlesAreAnError) {
  EXPECT_THROW(linear_backward_input(Context<Cuda>{stream(), nullptr}, LinearBackwardInputParams<float>{}),
               std::logic_error);
}

template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(CudaLibraries, ErrorsNameCallShapeAndStatus) {
  for (const char* call : {"cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute", "cublasLtMatrixLayoutCreate",
                           "cublasLtMatmulPreferenceCreate", "cublasLtMatmulPreferenceSetAttribute",
                           "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul"}) {
    emulated::fail_call(call, 1, CUBLAS_STATUS_ALLOC_FAILED);
    EXPECT_THAT(error_of([&] { multiply(); }),
                AllOf(HasSubstr(std::string(call) + ": " + cublasLtGetStatusString(CUBLAS_STATUS_ALLOC_FAILED)),
                      HasSubstr("16 x 8 x 24"), HasSubstr("float32")));
  }
  multiply();  // and none of it is remembered
  expect_right();
}

TEST_F(CudaLibraries, NoHandleIsAnError) {
  emulated::fail_call("cublasLtCreate", 1, CUBLAS_STATUS_NOT_INITIALIZED);
  EXPECT_THAT(error_of([&] { open({}); }), HasSubstr("cublasLtCreate"));
}

TEST_F(CudaLibraries, DescriptorsAndAlgorithmsAreMadeOncePerShape) {
  multiply();
  emulated::reset();
  multiply();
  EXPECT_EQ(emulated::calls("cublasLtMatmul"), 1);
  EXPECT_EQ(emulated::calls("cublasLtMatmulAlgoGetHeuristic"), 0);
  EXPECT_EQ(emulated::calls("cublasLtMatrixLayoutCreate"), 0);
  multiply(1);  // another alignment
  EXPECT_EQ(emulated::calls("cublasLtMatmulAlgoGetHeuristic"), 1);
}

TEST_F(CudaLibraries, EveryCallHasItsBias) {
  const auto first = random_values<float>(8, 5);
  const auto second = random_values<float>(8, 6);
  const DeviceArray<float> d_first(first), d_second(second);
  multiply(0, d_first.data());
  expect_close(result(), widen(expected(first)));
  multiply(0, d_second.data());
  expect_close(result(), widen(expected(second)));
  EXPECT_EQ(emulated::calls("cublasLtMatmulAlgoGetHeuristic"), 1);
}

TEST_F(CudaLibraries, EveryOrderOfStreamsGivesTheProduct) {
  for_each_seed([&] {
    multiply();
    expect_right();
  });
}

std::string content(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_F(CudaLibraries, TunedChoicesAreKeptInTheFile) {
  const TemporaryFolder folder;
  const std::string path = folder.file("deeper/matmul.json");
  open({.tune = true, .tuning_file = path});
  multiply();
  expect_right();
  EXPECT_GT(emulated::calls("cudaEventRecord"), 0);
  EXPECT_THAT(libraries().take_warnings(), IsEmpty());
  EXPECT_THAT(content(path), AllOf(HasSubstr("\"gpu\": \"emulated\""), HasSubstr("16 x 8 x 24")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()), {}), 1);

  for (const bool tune : {false, true}) {
    open({.tune = tune, .tuning_file = path});
    emulated::reset();
    multiply();
    expect_right();
    EXPECT_EQ(emulated::calls("cublasLtMatmulAlgoGetHeuristic"), 0);
    EXPECT_EQ(emulated::calls("cublasLtMatmulAlgoCheck"), 1);
    EXPECT_EQ(emulated::calls("cudaEventRecord"), 0);
    EXPECT_THAT(libraries().take_warnings(), IsEmpty());
  }
}

TEST_F(CudaLibraries, ChoicesOfTwoProcessesAreJoined) {
  const TemporaryFolder folder;
  const gpu::LibrariesConfig config{.tune = true, .tuning_file = folder.file("matmul.json")};
  open(config);
  gpu::LibrariesConfig other_config = config;
  other_config.gpu = "emulated";
  gpu::Libraries other(other_config);
  multiply();
  const DeviceArray<float> a(random_values<float>(12, 1)), b(random_values<float>(20, 2)), c(15);
  other.multiply(stream(), gpu::MatrixProduct<float, float>{a.data(), b.data(), c.data(), 3, 5, 4});
  EXPECT_THAT(content(config.tuning_file), AllOf(HasSubstr("16 x 8 x 24"), HasSubstr("3 x 5 x 4")));
}

TEST_F(CudaLibraries, DamagedAndForeignFilesAreIgnoredWithAWarning) {
  const TemporaryFolder folder;
  const std::string path = folder.file("matmul.json");
  open({.tune = true, .tuning_file = path});
  multiply();
  const std::string good = content(path);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  const std::string digits = good.substr(good.rfind("\": \"") + 4, 16);
  for (const std::string& bad :
       {std::string("{ nothing"), std::string("[]"), good.substr(0, good.size() / 2), replaced("emulated", "H200"),
        replaced("\"format\": 1", "\"format\": 2"), replaced("\"cublaslt\": ", "\"cublaslt\": 9"),
        replaced(digits, "zz" + digits.substr(2)), replaced(digits, digits.substr(0, 14) + "zz"),
        replaced(digits, digits.substr(1))}) {
    std::ofstream(path, std::ios::trunc) << bad;
    open({.tuning_file = path});
    EXPECT_THAT(libraries().take_warnings(), ElementsAre(AllOf(HasSubstr("is ignored"), HasSubstr(path)))) << bad;
    EXPECT_THAT(libraries().take_warnings(), IsEmpty());
    multiply();
    expect_right();
  }
  open({.tune = true, .tuning_file = path});  // tuning mends it
  multiply();
  EXPECT_EQ(content(path), good);
}

TEST_F(CudaLibraries, AlgorithmsThatCannotRunAreReplaced) {
  const TemporaryFolder folder;
  const std::string path = folder.file("matmul.json");
  open({.tune = true, .tuning_file = path});
  multiply();
  std::string text = content(path);
  const size_t digits = text.rfind("\": \"") + 4;
  std::ofstream(path, std::ios::trunc) << text.replace(digits, 16, "0123456789abcdef");
  open({.tuning_file = path});
  multiply();
  expect_right();
  EXPECT_THAT(libraries().take_warnings(), ElementsAre(AllOf(HasSubstr("cannot run here"), HasSubstr("16 x 8 x 24"))));
}

TEST_F(CudaLibraries, SmallerWorkspacesExcludeTunedAlgorithms) {
  const TemporaryFolder folder;
  const std::string path = folder.file("matmul.json");
  const gpu::ProductShape shape{.rows = 16,
                                .cols = 8,
                                .depth = 24,
                                .a_stride = 24,
                                .b_stride = 24,
                                .c_stride = 8,
                                .b_transposed = true,
                                .a_alignment = 256,
                                .b_alignment = 256,
                                .c_alignment = 256};
  cublasLtHandle_t handle = nullptr;
  ASSERT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_SUCCESS);
  const auto greedy = gpu::MatmulPlan(shape, nullptr).propose(handle, workspace_bytes, 1).results[0];
  ASSERT_EQ(cublasLtDestroy(handle), CUBLAS_STATUS_SUCCESS);
  ASSERT_GT(greedy.workspaceSize, 64U);
  gpu::AlgorithmBits bits{};
  std::copy(std::begin(greedy.algo.data), std::end(greedy.algo.data), bits.begin());
  ASSERT_EQ(gpu::write_tuning_file(path, {"emulated", cublasLtGetVersion()}, {{gpu::to_string(shape), bits}}), "");

  open({.tuning_file = path});
  multiply();
  EXPECT_THAT(libraries().take_warnings(), IsEmpty());
  EXPECT_EQ(emulated::calls("cublasLtMatmulAlgoGetHeuristic"), 1);  // only that above
  open({.workspace_bytes = 64, .tuning_file = path});
  multiply();
  expect_right();
  EXPECT_THAT(libraries().take_warnings(), ElementsAre(HasSubstr("cannot run here")));
}

TEST_F(CudaLibraries, UnwritableFilesAreOneWarning) {
  open({.tune = true, .tuning_file = "/proc/subspect/matmul.json"});
  multiply();
  multiply(1);
  EXPECT_THAT(libraries().take_warnings(), ElementsAre(HasSubstr("cannot write")));
}

TEST_F(CudaLibraries, TuningWithoutMemoryKeepsTheFirstProposal) {
  open({.tune = true});
  const auto dy = random_values<float>(16 * 8, 1);
  const auto x = random_values<float>(16 * 24, 2);
  std::vector<float> dweight(8 * 24, 0.5F);
  linear_backward_weight(context(), LinearBackwardWeightParams<float>{dy.data(), x.data(), dweight.data(), 16, 24, 8});
  const DeviceArray<float> d_dy(dy), d_x(x), d_dweight(std::vector<float>(8 * 24, 0.5F));
  emulated::fail_allocation(1);
  linear_backward_weight(on(), LinearBackwardWeightParams<float>{d_dy.data(), d_x.data(), d_dweight.data(), 16, 24, 8});
  EXPECT_THAT(libraries().take_warnings(), ElementsAre(HasSubstr("no memory to tune")));
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  expect_close(d_dweight.values(), widen(dweight));
}

TEST_F(CudaLibraries, FailuresWhileTuningAreErrors) {
  for (const char* call : {"cudaStreamIsCapturing", "cudaEventCreate", "cudaEventRecord", "cudaEventSynchronize",
                           "cudaEventElapsedTime"}) {
    open({.tune = true});
    emulated::fail_call(call, 1, cudaErrorInvalidValue);
    EXPECT_THAT(error_of([&] { multiply(); }), AllOf(HasSubstr(call), HasSubstr("16 x 8 x 24")));
  }
}

TEST_F(CudaLibraries, RefusedCandidatesAreSkipped) {
  open({.tune = true});
  emulated::fail_call("cublasLtMatmul", 1, CUBLAS_STATUS_NOT_SUPPORTED);
  multiply();
  expect_right();
}

TEST_F(CudaLibraries, CapturedProductsAreTunedLater) {
  open({.tune = true});
  cudaGraph_t graph = nullptr;
  ASSERT_CUDA(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
  multiply();
  ASSERT_CUDA(cudaStreamEndCapture(stream(), &graph));
  EXPECT_EQ(emulated::calls("cudaEventRecord"), 0);
  cudaGraphExec_t runnable = nullptr;
  ASSERT_CUDA(cudaGraphInstantiate(&runnable, graph, 0));
  ASSERT_CUDA(cudaGraphLaunch(runnable, stream()));
  expect_right();
  ASSERT_CUDA(cudaGraphExecDestroy(runnable));
  ASSERT_CUDA(cudaGraphDestroy(graph));
  multiply();
  EXPECT_GT(emulated::calls("cudaEventRecord"), 0);
  expect_right();
}

TEST_F(CudaLibraries, ProductsWithoutTuningReadNoClock) {
  multiply();
  EXPECT_EQ(emulated::calls("cudaEventRecord"), 0);
  EXPECT_EQ(emulated::calls("cudaStreamIsCapturing"), 0);
}

}  // namespace
}  // namespace subspect::kernels::test
