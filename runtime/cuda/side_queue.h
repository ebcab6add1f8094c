// A second stream of the same GPU, for copies beside its work.
#pragma once

#include <memory>

#include "runtime/cuda/event.h"
#include "runtime/gpu_queue.h"

namespace subspect::runtime::cuda {

std::unique_ptr<SideQueue> make_side_queue(std::shared_ptr<StreamHandle> stream);

}  // namespace subspect::runtime::cuda
