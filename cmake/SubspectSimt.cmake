# simt_test: the .cu kernels, compiled by the host compiler against the shim in tests/simt and run on the CPU. They are
# instrumented with -fsanitize=thread,bounds,shift,integer-divide-by-zero, whose callbacks the shim defines: the program
# is linked without libtsan and libubsan. So the sanitizer builds, which bring those, leave this program out.
if(SUBSPECT_SANITIZE)
  message(STATUS "Without simt_test: its race detector excludes -fsanitize=${SUBSPECT_SANITIZE}")
  return()
endif()

find_library(BOOST_CONTEXT_LIBRARY boost_context REQUIRED)

file(GLOB cuda_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu)
list(FILTER cuda_kernels EXCLUDE REGEX "sm90")
file(GLOB faulty_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/*.cu)
set_source_files_properties(${cuda_kernels} ${faulty_kernels} PROPERTIES LANGUAGE CXX)
add_library(simt_kernels OBJECT ${cuda_kernels} ${faulty_kernels})
target_include_directories(simt_kernels PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(simt_kernels PRIVATE subspect_options)
# Below -O1 not every access is instrumented; packs of elements are read and written through pointers of other types.
target_compile_options(simt_kernels PRIVATE
  -x c++ -include ${PROJECT_SOURCE_DIR}/tests/simt/device.h -O2 -g1 -fno-strict-aliasing -ffp-contract=off
  -fsanitize=thread,bounds,shift,integer-divide-by-zero -fno-sanitize-recover=all -Wno-unused-function)

file(GLOB simt_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/*.cpp)
add_executable(simt_test ${simt_sources} $<TARGET_OBJECTS:simt_kernels>)
target_link_libraries(simt_test PRIVATE
  subspect_options subspect_kernels ${BOOST_CONTEXT_LIBRARY} ${CMAKE_DL_LIBS} GTest::gmock GTest::gtest_main)
gtest_discover_tests(simt_test DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 600 LABELS simt)
