# cuda_test: the tests of the CUDA kernels that simt_test runs on the CPU, built for a GPU. Its cases are listed as
# skipped where there is no GPU.
file(GLOB gpu_test_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/gpu/*.cpp ${PROJECT_SOURCE_DIR}/tests/simt/*_test.cpp)
list(FILTER gpu_test_sources EXCLUDE REGEX "/shim_test\\.cpp$")  # tests of the shim itself
add_executable(cuda_test ${gpu_test_sources})
target_link_libraries(cuda_test PRIVATE subspect_options subspect_kernels CUDA::cudart_static GTest::gmock GTest::gtest)
gtest_discover_tests(cuda_test DISCOVERY_MODE PRE_TEST TEST_PREFIX Gpu. PROPERTIES TIMEOUT 600 LABELS gpu
  SKIP_REGULAR_EXPRESSION "skipped: no usable GPU")

# The program starts without CUDA's libraries (kernels/cuda/loader).
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  add_test(NAME cuda_libraries_are_loaded_late COMMAND ldd $<TARGET_FILE:subspect>)
  set_tests_properties(cuda_libraries_are_loaded_late PROPERTIES
    PASS_REGULAR_EXPRESSION "libc\\.so" FAIL_REGULAR_EXPRESSION "libcublas;libcusolver;libcudart;libcuda\\.so")
endif()
