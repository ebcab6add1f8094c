# Whether the CUDA backend is built, and how. Sets SUBSPECT_WITH_CUDA, and enables the language CUDA when it is on.
#
# One binary serves compute capability 8.0 and up: machine code for 8.x (sm_80) and 9.0 (sm_90a), and PTX of 8.0 that the
# driver compiles for what comes later. A file with sm90 in its name is compiled for sm_90a only.
set(SUBSPECT_CUDA AUTO CACHE STRING "CUDA backend: AUTO (when a toolkit of 12.8 or newer is found), ON or OFF")
set_property(CACHE SUBSPECT_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT SUBSPECT_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "SUBSPECT_CUDA is '${SUBSPECT_CUDA}'; it must be AUTO, ON or OFF")
endif()

set(SUBSPECT_WITH_CUDA OFF)
set(cuda_missing "")

# NCCL is no part of the toolkit. It is loaded when several ranks have GPUs; only its header is needed here.
find_path(SUBSPECT_NCCL_INCLUDE nccl.h HINTS $ENV{NCCL_HOME}/include $ENV{CUDA_HOME}/include /usr/local/cuda/include)
set(SUBSPECT_WITH_NCCL OFF)
if(SUBSPECT_NCCL_INCLUDE AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(SUBSPECT_WITH_NCCL ON)
endif()
if(NOT SUBSPECT_CUDA STREQUAL "OFF")
  find_program(SUBSPECT_NVCC nvcc HINTS $ENV{CUDACXX} $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
  if(NOT SUBSPECT_NVCC)
    set(cuda_missing "no nvcc (looked on the PATH, in CUDA_HOME and in /usr/local/cuda)")
  else()
    set(CUDAToolkit_ROOT ${SUBSPECT_NVCC}/../..)
    get_filename_component(CUDAToolkit_ROOT ${CUDAToolkit_ROOT} ABSOLUTE)
    find_package(CUDAToolkit 12.8 QUIET)
    if(NOT CUDAToolkit_FOUND)
      set(cuda_missing "the toolkit of ${SUBSPECT_NVCC} is older than 12.8 or incomplete")
    elseif(NOT TARGET CUDA::cudart_static OR NOT TARGET CUDA::cublasLt OR NOT TARGET CUDA::cusolver)
      set(cuda_missing "the toolkit of ${SUBSPECT_NVCC} lacks libcudart_static, cuBLAS or cuSOLVER")
    else()
      set(SUBSPECT_WITH_CUDA ON)
    endif()
  endif()
  if(SUBSPECT_CUDA STREQUAL "ON" AND NOT SUBSPECT_WITH_CUDA)
    message(FATAL_ERROR "SUBSPECT_CUDA is ON, but there is ${cuda_missing}: install the CUDA toolkit, or set CUDA_HOME")
  endif()
endif()

if(NOT SUBSPECT_WITH_CUDA)
  if(SUBSPECT_CUDA STREQUAL "OFF")
    set(cuda_missing "SUBSPECT_CUDA is OFF")
  endif()
  message(STATUS "Without CUDA: ${cuda_missing}")
  return()
endif()

set(CMAKE_CUDA_COMPILER ${SUBSPECT_NVCC} CACHE FILEPATH "CUDA compiler")
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES OFF)  # subspect_cuda_options says which
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.26 does not know that nvcc 12 speaks C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
if(SUBSPECT_CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${SUBSPECT_CCACHE})
endif()
message(STATUS "With CUDA ${CUDAToolkit_VERSION} of ${CUDAToolkit_ROOT}")

# What every .cu file is compiled with. ptxas' warnings are errors: a kernel that spills registers or keeps an array in
# local memory does not build.
set(subspect_ptxas_flags --warn-on-spills,--warn-on-local-memory-usage,--warning-as-error)
add_library(subspect_cuda_options INTERFACE)
set(subspect_cuda_flags -Xptxas=${subspect_ptxas_flags} -Xcompiler=-Wall,-Wextra,-Wshadow)
if(SUBSPECT_WERROR)
  list(APPEND subspect_cuda_flags -Werror=all-warnings -Xcompiler=-Werror)
endif()
target_compile_options(subspect_cuda_options INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:${subspect_cuda_flags}>")

# subspect_cuda_sources(TARGET FILES...): adds .cu files to a target, each for the architectures that its name asks for.
function(subspect_cuda_sources target)
  target_sources(${target} PRIVATE ${ARGN})
  foreach(file ${ARGN})
    set(architectures "-gencode=arch=compute_90a,code=sm_90a")
    if(NOT file MATCHES "sm90")
      list(PREPEND architectures "-gencode=arch=compute_80,code=[sm_80,compute_80]")
    endif()
    set_property(SOURCE ${file} APPEND PROPERTY COMPILE_OPTIONS ${architectures})
  endforeach()
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:subspect_cuda_options> CUDA::cudart_static)
endfunction()

# subspect_shared_name(TARGET VARIABLE): the name under which programs load the library of an imported target.
function(subspect_shared_name target variable)
  get_target_property(file ${target} IMPORTED_LOCATION)
  get_filename_component(file ${file} REALPATH)
  get_filename_component(file ${file} NAME)
  string(REGEX REPLACE "(\\.so\\.[0-9]+).*" "\\1" file ${file})
  set(${variable} ${file} PARENT_SCOPE)
endfunction()
