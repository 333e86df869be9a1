# Builds the kernels: cpp/src/kernels/<operation>_<isa>.cpp is compiled with the flags of that ISA,
# and no other file is.
#
# One list of features per ISA gives both the compiler flags (-m<feature>) and the run-time test
# (__builtin_cpu_supports("<feature>")), so they cannot differ. For the few features that the builtin
# of some Clang does not know, the test is cpu_has_<feature>() in cpp/src/isa.cpp.
include(CheckCXXCompilerFlag)

set(PRUNEPACK_FEATURES_scalar "")
set(PRUNEPACK_FEATURES_avx2 avx2 bmi bmi2 fma f16c popcnt lzcnt)
set(PRUNEPACK_FEATURES_avx512 ${PRUNEPACK_FEATURES_avx2} avx512f avx512bw avx512dq avx512vl
                              avx512vbmi avx512vbmi2 avx512vpopcntdq gfni)
# What only some CPUs with AVX-512 have: dot products of bfloat16 and of int8. It is no ISA to choose,
# but a row of its own for avx512 in dispatch.cpp.
set(PRUNEPACK_FEATURES_avx512dot ${PRUNEPACK_FEATURES_avx512} avx512bf16 avx512vnni)
set(PRUNEPACK_TESTED_BY_CPUID f16c lzcnt)
set(PRUNEPACK_FEATURES_neon "") # mandatory in AArch64

set(PRUNEPACK_ISAS scalar)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND PRUNEPACK_ISAS avx2 avx512 avx512dot)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  list(APPEND PRUNEPACK_ISAS neon)
endif()

# GCC 12 warns inside its own avx512fintrin.h.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(PRUNEPACK_QUIET_avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
  set(PRUNEPACK_QUIET_avx512dot ${PRUNEPACK_QUIET_avx512})
endif()

function(prunepack_add_kernels target)
  foreach(isa IN LISTS PRUNEPACK_ISAS)
    list(TRANSFORM PRUNEPACK_FEATURES_${isa} PREPEND "-m" OUTPUT_VARIABLE flags)
    list(JOIN flags " " flag_string)
    check_cxx_compiler_flag("${flag_string}" PRUNEPACK_COMPILES_${isa})
    if(NOT PRUNEPACK_COMPILES_${isa})
      message(WARNING "prunepack: this compiler has no ${isa}; its kernels are left out")
      continue()
    endif()

    file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/cpp/src/kernels/*_${isa}.cpp")
    target_sources(${target} PRIVATE ${sources})
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS
                                "${flags};-fno-exceptions;${PRUNEPACK_QUIET_${isa}}")

    set(test true)
    foreach(feature IN LISTS PRUNEPACK_FEATURES_${isa})
      if(feature IN_LIST PRUNEPACK_TESTED_BY_CPUID)
        string(APPEND test "&&cpu_has_${feature}()")
      else()
        string(APPEND test "&&__builtin_cpu_supports(\"${feature}\")")
      endif()
    endforeach()
    string(TOUPPER ${isa} upper)
    target_compile_definitions(${target} PRIVATE "PRUNEPACK_CPU_HAS_${upper}=(${test})")
  endforeach()
endfunction()
