# Installs the program, the libraries with their headers, the configurations, and the package
# `find_package(subspect)` with the targets subspect::kernels, subspect::runtime, subspect::model, subspect::experiments.
include(CMakePackageConfigHelpers)

set(SUBSPECT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/subspect)
foreach(folder kernels runtime model experiments)
  set_target_properties(subspect_${folder} PROPERTIES EXPORT_NAME ${folder})
  install(TARGETS subspect_${folder} EXPORT subspectTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/subspect
          FILES_MATCHING PATTERN "*.h")
endforeach()
if(SUBSPECT_WITH_CUDA)
  set_target_properties(subspect_cuda_libraries PROPERTIES EXPORT_NAME cuda_libraries)
  install(TARGETS subspect_cuda_libraries EXPORT subspectTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(TARGETS subspect RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/configs DESTINATION ${CMAKE_INSTALL_DATADIR}/subspect
        FILES_MATCHING PATTERN "*.yaml" PATTERN "*.json")
install(EXPORT subspectTargets NAMESPACE subspect:: DESTINATION ${SUBSPECT_PACKAGE_DIR})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/subspectConfig.cmake.in
  ${PROJECT_BINARY_DIR}/subspectConfig.cmake INSTALL_DESTINATION ${SUBSPECT_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/subspectConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/subspectConfig.cmake ${PROJECT_BINARY_DIR}/subspectConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/SubspectDependencies.cmake DESTINATION ${SUBSPECT_PACKAGE_DIR})
