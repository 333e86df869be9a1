// prunepack_check: every kernel this CPU can run gives the same bytes as the scalar one, and panel
// products the right sums.
//
//   prunepack_check [--quick] [--threaded] [ISA ...]   compare these, or all; exit 1 if one differs
//   prunepack_check --usable                           print the ISAs that can run here
//   prunepack_check --chosen                           print the one that kernels() takes
//
// --quick tries less; --threaded only whole operations, which run on threads, for the sanitizer
// that looks for races, and for CPUs whose kernels are checked elsewhere.
#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

#include "check.h"

namespace prunepack::check {
namespace {

struct Options {
  Effort effort = Effort::full;
  bool only_usable = false, only_chosen = false, only_threaded = false;
  std::vector<const Kernels*> tables{};
};

constexpr const char* kUsage =
    "usage: prunepack_check [--quick] [--threaded] [ISA ...] | --usable | --chosen\n";

std::vector<const Kernels*> all_tables() {
  std::vector<const Kernels*> tables;
  for (const Isa isa : kAllIsas) {
    if (const Kernels* table = kernels_for(isa)) tables.push_back(table);
  }
  return tables;
}

const Kernels* table_called(const char* wanted) {
  for (const Isa isa : kAllIsas) {
    if (std::strcmp(wanted, name(isa)) == 0) return kernels_for(isa);
  }
  return nullptr;
}

int print_names(const std::vector<const Kernels*>& tables) {
  for (const Kernels* table : tables) {
    if (std::puts(name(table->isa)) < 0) return 1;
  }
  return 0;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      options.effort = Effort::quick;
    } else if (std::strcmp(argv[i], "--threaded") == 0) {
      options.only_threaded = true;
    } else if (std::strcmp(argv[i], "--usable") == 0) {
      options.only_usable = true;
    } else if (std::strcmp(argv[i], "--chosen") == 0) {
      options.only_chosen = true;
    } else if (const Kernels* table = table_called(argv[i]); table != nullptr) {
      options.tables.push_back(table);
    } else {
      std::fprintf(stderr, "%s is no option, and no ISA that can run here\n%s", argv[i], kUsage);
      return false;
    }
  }
  return true;
}

int run(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) return 2;
  const char* chosen = name(kernels().isa);
  if (options.only_chosen) return std::puts(chosen) < 0;
  if (options.tables.empty()) options.tables = all_tables();
  if (options.only_usable) return print_names(options.tables);

  std::printf("chosen: %s\n", chosen);
  Report report;
  check_threads(options.tables.front()->isa, report);
  for (const Kernels* table : options.tables) {
    if (!options.only_threaded) {
      check_kernels(*table, options.effort, report);
      check_panels(*table, options.effort, report);
      check_lists(*table, report);
      check_list_dots(*table, report);
    }
    check_tensors(*table, options.effort, report);
    check_linear(*table, options.effort, report);
  }
  std::printf("%zu passed, %zu failed\n", report.passed(), report.failed());
  return report.failed() > 0;
}

}  // namespace
}  // namespace prunepack::check

int main(int argc, char** argv) {
  try {
    return prunepack::check::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "prunepack_check: %s\n", error.what());
    return 2;
  }
}
