"""A small vision-language model that ships its own code, in the manner of InternVL's checkpoints.

It offers what they do (`generate` that takes tiles and returns new tokens only, `forward` with
``image_flags``, `chat`), and its weights carry their names, so that servers which know that architecture load
it by themselves. Nothing but PyTorch and Transformers is needed, 4.46 or newer.
"""

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel, Qwen2ForCausalLM
from transformers.activations import ACT2FN
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_chat import InternVLChatConfig
from .conversation import get_conv_template


class VisionEmbeddings(nn.Module):
    """Patches, a class token before them, and positions."""

    def __init__(self, config):
        super().__init__()
        width, places = config.hidden_size, (config.image_size // config.patch_size) ** 2
        self.class_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embedding = nn.Conv2d(
            config.num_channels, width, kernel_size=config.patch_size, stride=config.patch_size
        )
        self.position_embedding = nn.Parameter(torch.zeros(1, places + 1, width))

    def forward(self, pixel_values):
        patches = self.patch_embedding(pixel_values).flatten(2).mT
        first = self.class_embedding.expand(len(patches), -1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding


class VisionAttention(nn.Module):
    """Attention of all places to all, queries, keys and values from one projection."""

    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(width, 3 * width, bias=config.qkv_bias)
        self.proj = nn.Linear(width, width)

    def forward(self, states):
        batch, places, width = states.shape
        parts = self.qkv(states).view(batch, places, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(seen.transpose(1, 2).reshape(batch, places, width))


class VisionFeedForward(nn.Module):
    """Two layers with an activation between."""

    def __init__(self, config):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, states):
        return self.fc2(self.act(self.fc1(states)))


class VisionLayer(nn.Module):
    """Attention and feed-forward, each normalised before and scaled behind."""

    def __init__(self, config):
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.attn, self.mlp = VisionAttention(config), VisionFeedForward(config)
        self.ls1, self.ls2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))

    def forward(self, states):
        states = states + self.attn(self.norm1(states)) * self.ls1
        return states + self.mlp(self.norm2(states)) * self.ls2


class VisionEncoder(nn.Module):
    """The layers."""

    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, states):
        for layer in self.layers:
            states = layer(states)
        return states


class VisionTower(nn.Module):
    """Tiles [n, 3, S, S] to states [n, 1 + places, width]."""

    def __init__(self, config):
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.encoder = VisionEncoder(config)

    def forward(self, pixel_values):
        return self.encoder(self.embeddings(pixel_values))


class InternVLChatModel(PreTrainedModel):
    """Tiles of images, projected to the places of ``img_context_token_id`` in a prompt for a Qwen2."""

    config_class = InternVLChatConfig
    main_input_name = "pixel_values"
    base_model_prefix = "language_model"
    _supports_sdpa = True
    _no_split_modules = ["VisionLayer", "Qwen2DecoderLayer"]

    def __init__(self, config):
        super().__init__(config)
        vision, text = config.vision_config, config.llm_config
        self.template = config.template
        self.system_message = config.system_message
        self.img_context_token_id = None
        self.side = round(1 / config.downsample_ratio)
        places = (config.force_image_size // vision.patch_size) ** 2
        self.num_image_token = places // self.side**2
        self.vision_model = VisionTower(vision)
        self.language_model = Qwen2ForCausalLM(text)
        joined = vision.hidden_size * self.side**2
        self.mlp1 = nn.Sequential(
            nn.LayerNorm(joined),
            nn.Linear(joined, text.hidden_size),
            nn.GELU(),
            nn.Linear(text.hidden_size, text.hidden_size),
        )
        self.post_init()

    def get_input_embeddings(self):
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self):
        return self.language_model.get_output_embeddings()

    def extract_feature(self, pixel_values):
        """Tiles [n, 3, S, S] to embeddings [n, num_image_token, width of the language model]."""
        states = self.vision_model(pixel_values)[:, 1:]
        count, places, width = states.shape
        edge = round(places**0.5)
        blocks = edge // self.side
        # Each block of side x side places becomes one, with their states one after the other.
        grid = states.view(count, blocks, self.side, blocks, self.side, width)
        return self.mlp1(grid.transpose(2, 3).reshape(count, blocks**2, width * self.side**2))

    def embed(self, input_ids, features):
        """Embeddings of a prompt, with ``features`` in the places kept for them."""
        if self.img_context_token_id is None:
            raise ValueError("set img_context_token_id to the tokenizer's id of <IMG_CONTEXT> first")
        embeddings = self.get_input_embeddings()(input_ids)
        places = (input_ids == self.img_context_token_id).unsqueeze(-1)
        if int(places.sum()) * embeddings.shape[-1] != features.numel():
            raise ValueError(f"{int(places.sum())} places for {features.shape[:-1].numel()} image tokens")
        return embeddings.masked_scatter(places, features.to(embeddings))

    def forward(
        self,
        pixel_values,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        image_flags=None,
        past_key_values=None,
        labels=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,  # noqa: ARG002 - callers of such models pass it
    ):
        """Logits of a whole prompt; of the tiles those count whose flag [n, 1] is 1."""
        features = self.extract_feature(pixel_values)[image_flags.squeeze(-1) == 1]
        output = self.language_model(
            inputs_embeds=self.embed(input_ids, features),
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            labels=labels,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        return CausalLMOutputWithPast(
            loss=output.loss, logits=output.logits, past_key_values=output.past_key_values
        )

    @torch.no_grad()
    def generate(
        self,
        pixel_values=None,
        input_ids=None,
        attention_mask=None,
        visual_features=None,
        generation_config=None,
        output_hidden_states=None,
        **options,
    ):
        """The new tokens only, since the language model is given embeddings."""
        if pixel_values is None:
            embeddings = self.get_input_embeddings()(input_ids)
        else:
            features = self.extract_feature(pixel_values) if visual_features is None else visual_features
            embeddings = self.embed(input_ids, features)
        return self.language_model.generate(
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            generation_config=generation_config,
            output_hidden_states=output_hidden_states,
            use_cache=True,
            **options,
        )

    def chat(self, tokenizer, pixel_values, question, generation_config):
        """The answer to a question on one image's tiles [n, 3, S, S], or on none."""
        if pixel_values is not None and "<image>" not in question:
            question = "<image>\n" + question
        conversation = get_conv_template(self.template)
        conversation.system_message = self.system_message
        conversation.append_message(conversation.roles[0], question)
        conversation.append_message(conversation.roles[1], None)
        self.img_context_token_id = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
        prompt = conversation.get_prompt()
        if pixel_values is not None:
            pieces = "<IMG_CONTEXT>" * (self.num_image_token * len(pixel_values))
            prompt = prompt.replace("<image>", f"<img>{pieces}</img>", 1)
        asked = tokenizer(prompt, return_tensors="pt").to(self.device)
        end = tokenizer.convert_tokens_to_ids(conversation.sep.strip())
        written = self.generate(
            pixel_values=pixel_values,
            input_ids=asked["input_ids"],
            attention_mask=asked["attention_mask"],
            **{**generation_config, "eos_token_id": end},
        )
        return tokenizer.batch_decode(written, skip_special_tokens=True)[0].strip()
