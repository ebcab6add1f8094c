# Run at build time: writes OUTPUT with the commit of SOURCE, only when it changed.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                OUTPUT_VARIABLE hash OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR hash STREQUAL "")
  set(hash "unknown")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define SUBSPECT_GIT_HASH \"${hash}\"\n")
