#include "report.h"

#include <csetjmp>
#include <csignal>
#include <cstdio>

namespace prunepack::check {
namespace {

constexpr std::size_t kMostShown = 3;  // failures put into words, of each family

constexpr const char* kDtypeNames[kDtypes] = {"float8_e4m3fn", "float8_e5m2", "int8",    "uint8",
                                              "float16",       "bfloat16",    "float32", "float64"};

thread_local sigjmp_buf before_call;
thread_local volatile std::sig_atomic_t in_call = 0;

void on_fault(int signal) {
  if (in_call) siglongjmp(before_call, signal);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

const char* name_of(int signal) {
  return signal == SIGILL ? "runs an instruction this CPU does not have"
                          : "touches memory outside its arguments";
}

}  // namespace

Report::Report() {
  struct sigaction action{};
  action.sa_handler = on_fault;
  action.sa_flags = SA_NODEFER;  // so that the jump need not restore a signal mask
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL}) sigaction(signal, &action, nullptr);
}

const char* Report::guarded(void (*call)(const void*), const void* context) {
  if (const int signal = sigsetjmp(before_call, 0); signal != 0) {
    in_call = 0;
    return name_of(signal);
  }
  in_call = 1;
  call(context);
  in_call = 0;
  return nullptr;
}

void Report::begin(Isa isa, const char* family) {
  isa_ = name(isa);
  family_ = family;
  passed_ = failed_ = 0;
}

void Report::end() {
  std::printf("%-7s %-14s %8zu passed", isa_, family_, passed_);
  if (failed_ > 0) std::printf(", %zu FAILED", failed_);
  std::printf("\n");
  std::fflush(stdout);
  all_passed_ += passed_;
  all_failed_ += failed_;
}

void Report::fail(const Case& what, const char* why) {
  if (++failed_ > kMostShown) return;
  std::printf("%s %s %s: %s;", isa_, family_, kDtypeNames[static_cast<std::size_t>(what.dtype)],
              why);
  for (const Parameter& parameter : what.parameters) {
    if (parameter.name == nullptr) break;
    std::printf(" %s %llu,", parameter.name, static_cast<unsigned long long>(parameter.value));
  }
  std::printf(" input: %s\n", what.input);
}

}  // namespace prunepack::check
