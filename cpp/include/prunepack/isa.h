// Instruction sets the library has kernels for.
#pragma once

#include <cstdint>

namespace prunepack {

enum class Isa : std::uint8_t { scalar, neon, avx2, avx512 };

// Worst to best on each platform.
inline constexpr Isa kAllIsas[] = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512};

const char* name(Isa isa) noexcept;

// True if this CPU and this operating system can run code built for `isa`.
bool cpu_has(Isa isa) noexcept;

}  // namespace prunepack
