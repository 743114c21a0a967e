// Configuration files with the fields and values of the published Stable Diffusion 3 and 3.5 folders.
#include <gmock/gmock.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/sd3/clip_text_encoder.h"
#include "common/sd3/scheduler.h"
#include "common/sd3/t5_encoder.h"
#include "common/sd3/transformer_config.h"
#include "common/sd3/vae.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kSd3Medium[] = R"({
  "_class_name": "SD3Transformer2DModel",
  "_diffusers_version": "0.29.0.dev0",
  "_name_or_path": "stabilityai/stable-diffusion-3-medium",
  "attention_head_dim": 64,
  "caption_projection_dim": 1536,
  "in_channels": 16,
  "joint_attention_dim": 4096,
  "num_attention_heads": 24,
  "num_layers": 24,
  "out_channels": 16,
  "patch_size": 2,
  "pooled_projection_dim": 2048,
  "pos_embed_max_size": 192,
  "sample_size": 128
})";

constexpr char kSd35Medium[] = R"({
  "_class_name": "SD3Transformer2DModel",
  "_diffusers_version": "0.32.0.dev0",
  "attention_head_dim": 64,
  "caption_projection_dim": 1536,
  "dual_attention_layers": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
  "in_channels": 16,
  "joint_attention_dim": 4096,
  "num_attention_heads": 24,
  "num_layers": 24,
  "out_channels": 16,
  "patch_size": 2,
  "pooled_projection_dim": 2048,
  "pos_embed_max_size": 384,
  "qk_norm": "rms_norm",
  "sample_size": 128
})";

constexpr char kSd35Large[] = R"({
  "_class_name": "SD3Transformer2DModel",
  "_diffusers_version": "0.31.0.dev0",
  "attention_head_dim": 64,
  "caption_projection_dim": 2432,
  "dual_attention_layers": [],
  "in_channels": 16,
  "joint_attention_dim": 4096,
  "num_attention_heads": 38,
  "num_layers": 38,
  "out_channels": 16,
  "patch_size": 2,
  "pooled_projection_dim": 2048,
  "pos_embed_max_size": 192,
  "qk_norm": "rms_norm",
  "sample_size": 128
})";

TEST(HubConfigsTest, TransformersOfTheThreeModels) {
  const auto sd3 = ParseTransformerConfig(kSd3Medium, "config.json");
  ASSERT_TRUE(sd3.ok()) << sd3.status();
  EXPECT_EQ(sd3->inner_dim(), 1536);
  EXPECT_EQ(sd3->pos_embed_max_size, 192);
  EXPECT_FALSE(sd3->has_qk_norm);
  EXPECT_THAT(sd3->dual_attention_layers, IsEmpty());
  const auto medium = ParseTransformerConfig(kSd35Medium, "config.json");
  ASSERT_TRUE(medium.ok()) << medium.status();
  EXPECT_EQ(medium->pos_embed_max_size, 384);
  EXPECT_TRUE(medium->has_qk_norm);
  EXPECT_THAT(medium->dual_attention_layers, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  const auto large = ParseTransformerConfig(kSd35Large, "config.json");
  ASSERT_TRUE(large.ok()) << large.status();
  EXPECT_EQ(large->inner_dim(), 2432);
  EXPECT_EQ(large->num_layers, 38);
  EXPECT_TRUE(large->has_qk_norm);
  EXPECT_THAT(large->dual_attention_layers, IsEmpty());
}

constexpr char kVae[] = R"({
  "_class_name": "AutoencoderKL",
  "_diffusers_version": "0.31.0.dev0",
  "_name_or_path": "sd3/vae",
  "act_fn": "silu",
  "block_out_channels": [128, 256, 512, 512],
  "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
  "force_upcast": true,
  "in_channels": 3,
  "latent_channels": 16,
  "latents_mean": null,
  "latents_std": null,
  "layers_per_block": 2,
  "mid_block_add_attention": true,
  "norm_num_groups": 32,
  "out_channels": 3,
  "sample_size": 1024,
  "scaling_factor": 1.5305,
  "shift_factor": 0.0609,
  "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
  "use_post_quant_conv": false,
  "use_quant_conv": false
})";

TEST(HubConfigsTest, TheAutoencoderOfAllThree) {
  const auto vae = ParseVaeConfig(kVae, "config.json");
  ASSERT_TRUE(vae.ok()) << vae.status();
  EXPECT_EQ(vae->latent_channels, 16);
  EXPECT_EQ(vae->downscale(), 8);
  EXPECT_EQ(vae->shift_factor, 0.0609);
  EXPECT_FALSE(vae->use_quant_conv);
  const auto changed =
      ParseVaeConfig(absl::StrReplaceAll(kVae, {{"\"latents_mean\": null", "\"latents_mean\": [1]"}}), "x");
  EXPECT_THAT(changed.status().message(), HasSubstr("\"latents_mean\""));
}

constexpr char kClip[] = R"({
  "_name_or_path": "openai/clip-vit-large-patch14",
  "architectures": ["CLIPTextModelWithProjection"],
  "attention_dropout": 0.0,
  "bos_token_id": 0,
  "dropout": 0.0,
  "eos_token_id": 2,
  "hidden_act": "quick_gelu",
  "hidden_size": 768,
  "initializer_factor": 1.0,
  "initializer_range": 0.02,
  "intermediate_size": 3072,
  "layer_norm_eps": 1e-05,
  "max_position_embeddings": 77,
  "model_type": "clip_text_model",
  "num_attention_heads": 12,
  "num_hidden_layers": 12,
  "pad_token_id": 1,
  "projection_dim": 768,
  "torch_dtype": "float16",
  "transformers_version": "4.41.2",
  "vocab_size": 49408
})";

// As transformers before 4.26 wrote the configuration of a text tower: with every field that a model may have.
constexpr char kOldNotes[] = R"({"add_cross_attention": false, "bad_words_ids": null, "chunk_size_feed_forward": 0,
  "cross_attention_hidden_size": null, "decoder_start_token_id": null, "diversity_penalty": 0.0, "do_sample": false,
  "early_stopping": false, "encoder_no_repeat_ngram_size": 0, "finetuning_task": null, "forced_bos_token_id": null,
  "id2label": {"0": "LABEL_0"}, "is_decoder": false, "is_encoder_decoder": false, "label2id": {"LABEL_0": 0},
  "length_penalty": 1.0, "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1,
  "num_beams": 1, "num_return_sequences": 1, "output_attentions": false, "output_hidden_states": false,
  "output_scores": false, "prefix": null, "problem_type": null, "pruned_heads": {}, "remove_invalid_values": false,
  "repetition_penalty": 1.0, "return_dict": true, "return_dict_in_generate": false, "sep_token_id": null,
  "task_specific_params": null, "temperature": 1.0, "tf_legacy_loss": false, "tie_encoder_decoder": false,
  "tie_word_embeddings": true, "tokenizer_class": null, "top_k": 50, "top_p": 1.0, "torchscript": false,
  "typical_p": 1.0, "use_bfloat16": false, )";

TEST(HubConfigsTest, BothClipTextEncoders) {
  const auto l = ParseClipTextConfig(kClip, "config.json");
  ASSERT_TRUE(l.ok()) << l.status();
  EXPECT_EQ(l->hidden_size, 768);
  EXPECT_EQ(l->eos_token_id, 2);
  const std::string big = absl::StrReplaceAll(
      kClip,
      {{"768", "1280"}, {"3072", "5120"}, {": 12", ": 32"}, {"quick_gelu", "gelu"}, {"\"_name_or_path\"", "\"_x\""}});
  const auto g = ParseClipTextConfig(absl::StrReplaceAll(big, {{"heads\": 32", "heads\": 20"}}), "config.json");
  ASSERT_TRUE(g.ok()) << g.status();
  EXPECT_EQ(g->num_attention_heads, 20);
  EXPECT_EQ(g->num_hidden_layers, 32);
  const auto old = ParseClipTextConfig(absl::StrCat(kOldNotes, std::string(kClip).substr(1)), "config.json");
  EXPECT_TRUE(old.ok()) << old.status();
}

constexpr char kT5[] = R"({
  "_name_or_path": "google/t5-v1_1-xxl",
  "architectures": ["T5EncoderModel"],
  "classifier_dropout": 0.0,
  "d_ff": 10240,
  "d_kv": 64,
  "d_model": 4096,
  "decoder_start_token_id": 0,
  "dense_act_fn": "gelu_new",
  "dropout_rate": 0.1,
  "eos_token_id": 1,
  "feed_forward_proj": "gated-gelu",
  "initializer_factor": 1.0,
  "is_encoder_decoder": true,
  "is_gated_act": true,
  "layer_norm_epsilon": 1e-06,
  "model_type": "t5",
  "num_decoder_layers": 24,
  "num_heads": 64,
  "num_layers": 24,
  "output_past": true,
  "pad_token_id": 0,
  "relative_attention_max_distance": 128,
  "relative_attention_num_buckets": 32,
  "tie_word_embeddings": false,
  "torch_dtype": "float16",
  "transformers_version": "4.41.2",
  "use_cache": true,
  "vocab_size": 32128
})";

TEST(HubConfigsTest, TheT5EncoderOfAllThree) {
  const auto t5 = ParseT5Config(kT5, "config.json");
  ASSERT_TRUE(t5.ok()) << t5.status();
  EXPECT_EQ(t5->d_model, 4096);
  EXPECT_TRUE(t5->is_gated);
  EXPECT_EQ(t5->activation, "gelu_new");
}

TEST(HubConfigsTest, WhatMightChangeTheMathsIsRefusedByNameAndAllOfItAtOnce) {
  const auto clip = [](const char* field) {
    return std::string(ParseClipTextConfig(absl::StrCat("{", field, ", ", std::string(kClip).substr(1)), "config.json")
                           .status()
                           .message());
  };
  EXPECT_THAT(clip("\"rope_theta\": 1"), HasSubstr("field \"rope_theta\" is not known"));
  EXPECT_THAT(clip("\"quantization_config\": {}"), HasSubstr("field \"quantization_config\" is not known"));
  EXPECT_THAT(clip("\"pruned_heads\": {\"1\": [2]}"), HasSubstr("pruned_heads is set"));
  EXPECT_THAT(clip("\"is_decoder\": true"), HasSubstr("is_decoder is set"));
  const auto other = [](absl::string_view config, const char* from, const char* to) {
    return absl::StrReplaceAll(config, {{from, to}});
  };
  EXPECT_THAT(ParseClipTextConfig(other(kClip, "WithProjection", ""), "x").status().message(),
              HasSubstr("architectures names CLIPTextModel, expected CLIPTextModelWithProjection"));
  EXPECT_THAT(ParseClipTextConfig(other(kClip, "clip_text_model", "siglip_text_model"), "x").status().message(),
              HasSubstr("model_type is \"siglip_text_model\""));
  EXPECT_THAT(ParseT5Config(other(kT5, "T5EncoderModel", "UMT5EncoderModel"), "x").status().message(),
              HasSubstr("UMT5EncoderModel"));
  EXPECT_THAT(ParseT5Config(other(kT5, "\"gelu_new\"", "\"gelu\""), "x").status().message(),
              HasSubstr("dense_act_fn or is_gated_act contradicts"));
  const std::string both(
      ParseTransformerConfig(other(other(kSd35Medium, "sample_size", "rope"), "SD3Tr", "FluxTr"), "x")
          .status()
          .message());
  EXPECT_THAT(both, HasSubstr("_class_name is \"FluxTransformer2DModel\""));
  EXPECT_THAT(both, HasSubstr("field \"rope\" is not known"));
}

TEST(HubConfigsTest, TheSchedulersOfBothGenerations) {
  const TempFolder folder;
  const auto shift = [&](const char* fields) {
    folder.Write("scheduler_config.json", absl::StrCat(R"({"_class_name": "FlowMatchEulerDiscreteScheduler",
        "_diffusers_version": "0.29.0.dev0", "num_train_timesteps": 1000, "shift": 3.0)",
                                                       fields, "}"));
    const auto config = SchedulerConfig::Load(folder.path());
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? config->shift : 0;
  };
  EXPECT_EQ(shift(""), 3);
  EXPECT_EQ(shift(R"(, "base_image_seq_len": 256, "base_shift": 0.5, "invert_sigmas": false, "max_image_seq_len": 4096,
      "max_shift": 1.15, "shift_terminal": null, "use_beta_sigmas": false, "use_dynamic_shifting": false,
      "use_exponential_sigmas": false, "use_karras_sigmas": false)"),
            3);
  folder.Write("scheduler_config.json", R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "sigma_skew": 2})");
  EXPECT_THAT(SchedulerConfig::Load(folder.path()).status().message(), HasSubstr("\"sigma_skew\""));
}

}  // namespace
}  // namespace flowawr
