"""Configuration of a vision-language model with its own code, in the manner of InternVL's checkpoints."""

from transformers import PretrainedConfig, Qwen2Config


class ChatVisionConfig(PretrainedConfig):
    """The vision tower: patches, width, depth."""

    model_type = "chat_vision"

    def __init__(
        self,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_channels=3,
        image_size=56,
        patch_size=14,
        hidden_act="gelu",
        norm_type="layer_norm",
        layer_norm_eps=1e-6,
        qkv_bias=True,
        qk_normalization=False,
        **others,
    ):
        """Sizes in pixels; ``norm_type`` and ``qk_normalization`` are read by servers, which know others."""
        super().__init__(**others)
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_channels = num_channels
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_act = hidden_act
        self.norm_type = norm_type
        self.layer_norm_eps = layer_norm_eps
        self.qkv_bias = qkv_bias
        self.qk_normalization = qk_normalization


class InternVLChatConfig(PretrainedConfig):
    """A vision tower, a language model, and how images are cut into tiles."""

    model_type = "internvl_chat"
    sub_configs = {"vision_config": ChatVisionConfig, "llm_config": Qwen2Config}

    def __init__(
        self,
        vision_config=None,
        llm_config=None,
        template="plain",
        system_message="",
        force_image_size=56,
        downsample_ratio=0.5,
        select_layer=-1,
        ps_version="v2",
        dynamic_image_size=True,
        use_thumbnail=True,
        min_dynamic_patch=1,
        max_dynamic_patch=3,
        **others,
    ):
        """``template`` names a conversation template; ``system_message`` is what `chat` sends."""
        self.vision_config = ChatVisionConfig(**(vision_config or {}))
        self.llm_config = Qwen2Config(**(llm_config or {}))
        self.template = template
        self.system_message = system_message
        self.force_image_size = force_image_size
        self.downsample_ratio = downsample_ratio
        self.select_layer = select_layer
        self.ps_version = ps_version
        self.dynamic_image_size = dynamic_image_size
        self.use_thumbnail = use_thumbnail
        self.min_dynamic_patch = min_dynamic_patch
        self.max_dynamic_patch = max_dynamic_patch
        super().__init__(**others)
