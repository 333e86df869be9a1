#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace prunepack::check {
namespace {

constexpr std::uint8_t kMark = 0xa5;
constexpr std::size_t kMargin = 128;  // two of the widest registers

void require(bool done, const char* what) {
  if (done) return;
  std::perror(what);
  std::abort();
}

}  // namespace

Guarded::Guarded(std::size_t bytes, std::size_t beyond)
    : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))),
      bytes_((bytes + page_ - 1) / page_ * page_),
      map_bytes_(page_ + bytes_ + page_ + beyond) {
  void* map = mmap(nullptr, map_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(map != MAP_FAILED, "mmap");
  map_ = static_cast<std::uint8_t*>(map);
  require(mprotect(begin(), size(), PROT_READ | PROT_WRITE) == 0, "mprotect");
}

Guarded::~Guarded() { munmap(map_, map_bytes_); }

void Guarded::seal() const { require(mprotect(begin(), size(), PROT_READ) == 0, "mprotect"); }

Outputs::Outputs(std::size_t most_bytes)
    : expected_((most_bytes + 3 * kMargin) / sizeof(Line) + 1), actual_(expected_.size()) {}

void Outputs::prepare(std::size_t bytes, std::size_t shift) {
  start_ = kMargin + shift;
  room_ = bytes;
  for (auto* side : {&expected_, &actual_})
    std::fill_n(side->front().bytes, start_ + bytes + kMargin, kMark);
}

bool Outputs::agree(std::size_t bytes) const {
  const auto marked = [&](std::size_t from, std::size_t to) {
    const std::uint8_t* bytes_there = actual_.front().bytes;
    return std::all_of(bytes_there + from, bytes_there + to,
                       [](std::uint8_t byte) { return byte == kMark; });
  };
  const std::size_t end = start_ + room_;
  return std::memcmp(expected_.front().bytes + start_, actual_.front().bytes + start_, bytes) ==
             0 &&
         marked(0, start_) && marked(end, end + kMargin);
}

}  // namespace prunepack::check
