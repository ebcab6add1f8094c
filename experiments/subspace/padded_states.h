// Last-token states as scripts read them that pad prompts on the right with the EOS token and mask by its id: what the
// deviations padded_last and masked_eos of `kind: activations` reproduce.
#pragma once

#include <cstdint>
#include <vector>

#include "experiments/subspace/activation_states.h"

namespace subspect::experiments::subspace {

struct PaddedReading {
  bool last_position = false;  ///< read position -1 of the padded batch, a padding token for all but the longest
  bool mask_pad_id = false;    ///< no token with the pad token's id is attended to, real or not
  int64_t batch = 1;           ///< prompts that are padded to one length, in their order
  int32_t pad_id = 0;
};

/// As `last_token_states`, one prompt at a time. A masked token attends to the unmasked tokens before it, not to
/// itself. Throws Error for a prompt that is masked as a whole, and for a model with a sliding window shorter than a
/// batch.
std::vector<runtime::Tensor> padded_states(RunContext& context, model::Decoder& decoder, const StateRequest& request,
                                           const PaddedReading& reading);

}  // namespace subspect::experiments::subspace
