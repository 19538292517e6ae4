package dev.octet.mla;

/** What the {@code config.json} of published models say about attention, among other things. */
final class PublishedConfigs {
    static final String V3 = """
            {
              "architectures": ["DeepseekV3ForCausalLM"],
              "attention_bias": false,
              "attention_dropout": 0.0,
              "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
              "eos_token_id": 1,
              "hidden_size": 7168,
              "initializer_range": 0.02,
              "intermediate_size": 18432,
              "kv_lora_rank": 512,
              "max_position_embeddings": 163840,
              "model_type": "deepseek_v3",
              "num_attention_heads": 128,
              "num_hidden_layers": 61,
              "num_key_value_heads": 128,
              "num_nextn_predict_layers": 1,
              "q_lora_rank": 1536,
              "qk_nope_head_dim": 128,
              "qk_rope_head_dim": 64,
              "quantization_config": {"fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]},
              "rms_norm_eps": 1e-06,
              "rope_scaling": {
                "beta_fast": 32,
                "beta_slow": 1,
                "factor": 40,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "original_max_position_embeddings": 4096,
                "type": "yarn"
              },
              "rope_theta": 10000,
              "routed_scaling_factor": 2.5,
              "torch_dtype": "bfloat16",
              "v_head_dim": 128,
              "vocab_size": 129280
            }
            """;

    static final String V2 = V3.replace("deepseek_v3", "deepseek_v2")
            .replace("\"hidden_size\": 7168", "\"hidden_size\": 5120")
            .replace("\"num_hidden_layers\": 61", "\"num_hidden_layers\": 60");

    static final String V2_LITE = """
            {"hidden_size": 2048, "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v2",
             "num_attention_heads": 16, "num_hidden_layers": 27, "num_key_value_heads": 16, "q_lora_rank": null,
             "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
             "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707,
               "original_max_position_embeddings": 4096, "type": "yarn"},
             "rope_theta": 10000, "v_head_dim": 128}
            """;

    static final String QWEN_25_72B = """
            {"architectures": ["Qwen2ForCausalLM"], "hidden_size": 8192, "intermediate_size": 29568,
             "max_position_embeddings": 32768, "max_window_layers": 70, "model_type": "qwen2",
             "num_attention_heads": 64, "num_hidden_layers": 80, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
             "rope_theta": 1000000.0,
             "sliding_window": 131072, "use_sliding_window": false, "vocab_size": 152064}
            """;

    static final String LLAMA_31_405B = """
            {"architectures": ["LlamaForCausalLM"], "hidden_size": 16384, "max_position_embeddings": 131072,
             "model_type": "llama", "num_attention_heads": 128, "num_hidden_layers": 126, "num_key_value_heads": 8,
             "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0}
            """;

    private PublishedConfigs() {}
}
