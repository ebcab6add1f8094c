# fuzz_NAME for every tests/fuzz/NAME_fuzz.cpp. Built with Clang and AddressSanitizer it is a libFuzzer program (the
# libraries are then built with its coverage too); in every other build it runs the files of tests/fuzz/corpus/NAME once.
if(SUBSPECT_FUZZ)
  set(fuzz_main "")
  set(fuzz_link_options -fsanitize=fuzzer)
  set(fuzz_arguments -runs=0)
else()
  set(fuzz_main fuzz/replay.cpp)
  set(fuzz_link_options "")
  set(fuzz_arguments "")
endif()

file(GLOB fuzz_targets CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/*_fuzz.cpp)
foreach(source ${fuzz_targets})
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "_fuzz$" "" name ${name})
  add_executable(fuzz_${name} ${source} fuzz/fuzz.cpp ${fuzz_main})
  target_link_libraries(fuzz_${name} PRIVATE subspect_options subspect_experiments nlohmann_json::nlohmann_json)
  target_link_options(fuzz_${name} PRIVATE ${fuzz_link_options})
  add_test(NAME fuzz_corpus.${name}
           COMMAND fuzz_${name} ${fuzz_arguments} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
endforeach()
