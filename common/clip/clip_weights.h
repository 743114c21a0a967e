// Binds the weights of a CLIP folder to the towers, by the names of either layout. What each is called:
//
//   this project            HF                                         OpenCLIP
//   class_embedding         vision_model.embeddings.class_embedding    visual.class_embedding
//   patch_embedding         vision_model.embeddings.patch_embedding    visual.conv1
//   position_embedding      vision_model.embeddings.position_embedding visual.positional_embedding
//   norm_before             vision_model.pre_layrnorm                  visual.ln_pre
//   norm_after              vision_model.post_layernorm                visual.ln_post
//   projection              visual_projection [out, in]                visual.proj [in, out]
//   layer i                 vision_model.encoder.layers.i              visual.transformer.resblocks.i
//     norm1, norm2          layer_norm1, layer_norm2                   ln_1, ln_2
//     qkv                   self_attn.{q,k,v}_proj                     attn.in_proj_{weight,bias}, one above another
//     out                   self_attn.out_proj                         attn.out_proj
//     fc1, fc2              mlp.fc1, mlp.fc2                           mlp.c_fc, mlp.c_proj
//   token_embedding         text_model.embeddings.token_embedding      token_embedding
//   position_embedding      text_model.embeddings.position_embedding   positional_embedding
//   text layer i            text_model.encoder.layers.i                transformer.resblocks.i
//   final_norm              text_model.final_layer_norm                ln_final
//   text_projection         text_projection [out, in]                  text_projection [in, out]
//   logit_scale             logit_scale                                logit_scale
#pragma once

#include "common/clip/clip_config.h"
#include "common/clip/clip_vision_tower.h"
#include "common/nn/weight_binder.h"
#include "common/sd3/clip_text_encoder.h"

namespace flowawr {

struct ClipWeights {
  ClipVisionTower vision;
  ClipTextWeights text;
  double logit_scale = 0;  // as in the file: a logarithm
};

// Complaints about tensors are binder.Finish()'s, which the caller calls; the weights are whole only if it is OK.
ClipWeights BindClip(const ClipConfig& config, WeightBinder& binder);

}  // namespace flowawr
