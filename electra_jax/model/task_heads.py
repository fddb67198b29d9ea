"""What stands on the discriminator when it is fine-tuned: one module per kind of task and style.

'reference' heads are those of google-research/electra (finetune/), 'huggingface' ones those of
transformers (modeling_electra.py). The two differ in layers and in dropout, so that scores of one
are not those of the other. 'mean' ones read a row from all of its tokens; tags and spans have none.
'prompt' is the discriminator's own head, which reads classes from their words in a template.
'modernbert' ones are those of its ModernBERT (modeling_modernbert.py), which read a row from the
mean of its tokens, 'modernbert_cls' ones from its first token.
"""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.settings import ModelConfig
from electra_jax.core.batch import Batch
from electra_jax.core.dims import constrain, lift
from electra_jax.model.decoder import DecoderShape
from electra_jax.model.heads import DiscriminatorHead
from electra_jax.model.layers import Dense, Dropout, Norm, flat_einsum, truncated_normal
from electra_jax.ops.activations import gelu, softmax

# M: starts of answers that a search looks at
# Q: texts of a row that do not see each other

Outputs = dict[str, jax.Array]

MASKED = -1000.0  # added to the logit of a token that can be no answer (electra, qa_tasks.py)
SPAN_HIDDEN = 512  # width of the joint span head's hidden layers (electra, qa_tasks.py)


@dataclasses.dataclass(frozen=True)
class HeadShape:
    """What a fine-tuned model ends in."""

    # What it scores: 'row', 'token' or 'span'; 'text': it writes one; 'vectors': one for each text.
    form: str
    style: str  # of HEAD_STYLES
    num_classes: int  # C, or of 'vectors' Q; of no meaning for 'span'
    dropout: float  # before each layer of the head that has any
    beams: int = 20  # of the reference's span head: starts, and ends of each start
    decoder: DecoderShape | None = None  # what writes a text
    words: tuple[int, ...] = ()  # of a prompt: for each text of a row, the class of its word

    @property
    def is_apart(self) -> bool:
        """Whether a row holds several texts that do not see each other."""
        return self.form == 'vectors' or self.style == 'prompt'


class TaskHead(nn.Module):
    """What every head has: a model, its own shape, and an output layer with Glorot's start."""

    model: ModelConfig
    shape: HeadShape

    def dense(
        self, name: str | None, equation: str, inner: int, outer: int, glorot: bool = True
    ) -> Dense:
        """A dense layer whose kernel's letters are the second term of `equation`."""
        first, second = tuple(equation.split('->')[0].split(',')[1])
        init = nn.initializers.glorot_uniform()
        if not glorot:
            init = truncated_normal(self.model.init_stddev)
        return Dense(equation, {first: inner, second: outer}, self.model, init, name=name)

    def drop(self, name: str) -> Dropout:
        """Dropout at the head's rate."""
        return Dropout(self.shape.dropout, self.model.dropout_bits, name=name)

    def search(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """What prediction needs; only a head that searches does more than in training."""
        return self(hidden_BLD, batch)


class SequenceHead(TaskHead):
    """Logits of a whole row from its first token: dropout and one dense layer.

    transformers has another dense layer and a GELU before (ElectraClassificationHead).
    """

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """'logits' [B, C], float32."""
        D, C = hidden_BLD.shape[-1], self.shape.num_classes
        x_BD = self.drop('dropout')(hidden_BLD[:, 0])
        if self.shape.style == 'huggingface':
            x_BD = gelu(self.dense('dense', 'BD,DF->BF', D, D, glorot=False)(x_BD))
            x_BD = self.drop('output_dropout')(x_BD)
        logits_BC = self.dense('output', 'BD,DC->BC', D, C)(x_BD)
        return {'logits': logits_BC.astype(jnp.float32)}


class MeanHead(TaskHead):
    """Logits of a whole row from the means of its tokens' states, which learn from less text.

    u and v are the means of the first and the second text, [CLS] and [SEP] with them; dropout and
    one dense layer read [u; v; |u - v|; u v] (Conneau et al. 2017, figure 1). Without a second
    text v is zero.
    """

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """'logits' [B, C], float32; needs batch['documents'] and batch['types']."""
        real_BL = batch['documents'] > 0
        u_BD, v_BD = (
            _mean(hidden_BLD, real_BL & (batch['types'] == number)) for number in range(2)
        )
        x_BD = jnp.concatenate([u_BD, v_BD, jnp.abs(u_BD - v_BD), u_BD * v_BD], axis=-1)
        output = self.dense('output', 'BD,DC->BC', x_BD.shape[-1], self.shape.num_classes)
        return {'logits': output(self.drop('dropout')(x_BD)).astype(jnp.float32)}


class ModernHead(TaskHead):
    """Logits of rows or of tokens: dense, GELU, LayerNorm, dropout, dense."""

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """'logits' [B, C] or [B, L, C], float32, or what `SpanHead` gives."""
        D, C = hidden_BLD.shape[-1], self.shape.num_classes
        if self.shape.style == 'modernbert_cls':
            hidden_BLD = hidden_BLD[:, :1]
        elif self.shape.form == 'row':
            hidden_BLD = _mean(hidden_BLD, batch['documents'] > 0)[:, None]
        dense = self.dense('dense', 'BLD,DF->BLF', D, D, glorot=False)
        x_BLF = Norm(self.model, name='norm')(gelu(dense(hidden_BLD)))
        output = self.dense('output', 'BLF,FC->BLC', D, C)
        logits_BLC = output(self.drop('dropout')(x_BLF)).astype(jnp.float32)
        if self.shape.form == 'span':
            return _of_spans(logits_BLC, batch)
        return {'logits': logits_BLC[:, 0] if self.shape.form == 'row' else logits_BLC}


class TokenHead(TaskHead):
    """Logits of each token by one dense layer.

    transformers has dropout before it (ElectraForTokenClassification).
    """

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """'logits' [B, L, C], float32."""
        D, C = hidden_BLD.shape[-1], self.shape.num_classes
        if self.shape.style == 'huggingface':
            hidden_BLD = self.drop('dropout')(hidden_BLD)
        logits_BLC = self.dense('output', 'BLD,DC->BLC', D, C)(hidden_BLD)
        return {'logits': logits_BLC.astype(jnp.float32)}


class SpanHead(TaskHead):
    """Start and end of an answer, each by its own column of one dense layer.

    As ElectraForQuestionAnswering; a row without an answer points to its first token.
    """

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """'start' and 'end', logits [B, L], float32; low where `batch['allowed']` is 0."""
        logits_BLC = self.dense('output', 'BLD,DC->BLC', hidden_BLD.shape[-1], 2)(hidden_BLD)
        return _of_spans(logits_BLC.astype(jnp.float32), batch)


class PairDense(nn.Module):
    """A dense layer on two states side by side, of every `a` with every `b`.

    [a; b] W + c is a W_a + (b W_b + c): each state is multiplied once, not once for each pair.
    Kernel [2 D, F] and bias [F] are those of a dense layer on the pairs.
    """

    model: ModelConfig
    width: int  # F

    @nn.compact
    def __call__(self, a_BKD: jax.Array, b_BLD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The two terms, [B, K, F] and [B, L, F]; their sum is the layer's result for a pair."""
        D, dtype = b_BLD.shape[-1], jnp.dtype(self.model.compute_dtype)
        kernel = self.param('kernel', nn.initializers.glorot_uniform(), (2 * D, self.width))
        bias_F = self.param('bias', nn.initializers.zeros_init(), (self.width,)).astype(dtype)
        a_DF, b_DF = jnp.split(kernel.astype(dtype), 2)
        product = flat_einsum if self.model.flat_products else jnp.einsum
        b_BLF = product('BLD,DF->BLF', b_BLD.astype(dtype), b_DF) + lift(bias_F, 3)
        return product('BKD,DF->BKF', a_BKD.astype(dtype), a_DF), b_BLF


class JointSpanHead(TaskHead):
    """Start, then end given the start, and whether there is an answer (electra, qa_tasks.py).

    In training the end is scored from the state of the true start; in prediction from each of the
    `beams` likeliest ones.
    """

    def setup(self) -> None:
        """Makes the layers, which both ways of calling share."""
        D, F = self.model.hidden_size, SPAN_HIDDEN
        self.start = self.dense(None, 'BLD,DC->BLC', D, 1)
        self.end_dense = PairDense(self.model, F)
        self.end_output = self.dense(None, 'BLD,DC->BLC', F, 1)
        self.answerable_dense = self.dense(None, 'BD,DF->BF', 2 * D, F)
        self.answerable_output = self.dense(None, 'BD,DC->BC', F, 1)

    def __call__(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """'start' and 'end' [B, L], 'impossible' [B], logits in float32; needs batch['start']."""
        start_BL = self.starts(hidden_BLD, batch)
        (end_BL,) = self.ends(hidden_BLD, batch['start'][:, None], batch)
        return {
            'start': start_BL,
            'end': end_BL,
            'impossible': self.impossible(hidden_BLD, start_BL),
        }

    def search(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """The likeliest starts, for each the likeliest ends, and the logit of no answer.

        Starts have shape [B, beams], ends [B, beams, beams], 'impossible' [B].
        """
        start_BL = self.starts(hidden_BLD, batch)
        beams = min(self.shape.beams, start_BL.shape[1])
        start_log_prob, start_index = jax.lax.top_k(jax.nn.log_softmax(start_BL), beams)
        found = [
            jax.lax.top_k(jax.nn.log_softmax(end_BL), beams)
            for end_BL in self.ends(hidden_BLD, start_index, batch)
        ]
        return {
            'start_index': start_index,
            'start_log_prob': start_log_prob,
            'end_index': jnp.stack([index for _, index in found], axis=1),
            'end_log_prob': jnp.stack([log_prob for log_prob, _ in found], axis=1),
            'impossible': self.impossible(hidden_BLD, start_BL),
        }

    def starts(self, hidden_BLD: jax.Array, batch: Batch) -> jax.Array:
        """Logits [B, L], float32."""
        logits_BL = self.start(hidden_BLD)[..., 0].astype(jnp.float32)
        return logits_BL + _forbidden(batch['allowed'])

    def ends(self, hidden_BLD: jax.Array, start_BM: jax.Array, batch: Batch) -> Iterator[jax.Array]:
        """For each of M starts the logits of ends [B, L], float32."""
        at_BMD = jnp.take_along_axis(hidden_BLD, start_BM[..., None], axis=1)
        at_BMF, y_BLF = self.end_dense(at_BMD, hidden_BLD)
        for at_BF in jnp.moveaxis(at_BMF, 1, 0):
            logits_BLC = self.end_output(gelu(constrain(at_BF[:, None] + y_BLF, 'BLF')))
            yield logits_BLC[..., 0].astype(jnp.float32) + _forbidden(batch['allowed'])

    def impossible(self, hidden_BLD: jax.Array, start_BL: jax.Array) -> jax.Array:
        """Logits [B], float32: the higher, the more surely the row holds no answer."""
        probs_BL = softmax(start_BL).astype(hidden_BLD.dtype)
        expected_BD = jnp.einsum('BL,BLD->BD', probs_BL, hidden_BLD)
        both_BD = jnp.concatenate([hidden_BLD[:, 0], expected_BD], axis=-1)
        y_BF = gelu(self.answerable_dense(both_BD))
        return self.answerable_output(y_BF)[..., 0].astype(jnp.float32)


class VectorHead(TaskHead):
    """A vector for each text of a row: the mean of its tokens' states, of length 1.

    It has no parameters, so that a model without it gives the same vectors.
    """

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """'vectors' [B, Q, D], float32; needs batch['inside'], 1 at the tokens of texts."""
        number_Q = jnp.arange(1, self.shape.num_classes + 1)
        of_text_BQL = batch['documents'][:, None] == number_Q[None, :, None]
        chosen_BQL = of_text_BQL & (batch['inside'] > 0)[:, None]
        means = [mean_of(hidden_BLD, chosen_BQL[:, q]) for q in range(len(number_Q))]
        mean_BQD = jnp.stack(means, axis=1)
        squared_BQ1 = jnp.sum(jnp.square(mean_BQD), axis=-1, keepdims=True)
        # A row may lack a text: its gradient is zero, which that of a root would not be.
        return {'vectors': mean_BQD * jax.lax.rsqrt(jnp.maximum(squared_BQ1, 1e-12))}


class PromptHead(TaskHead):
    """Logits of classes by their words, each of which stands in a text of its own.

    The discriminator's head gives the log-probability that a token is the original one; a word has
    the mean of its tokens', a class the mean of its words' (Xia et al. 2022).
    """

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array, batch: Batch) -> Outputs:
        """'logits' [B, C], float32; needs batch['inside'], 1 at the tokens of the words."""
        logits_BL = DiscriminatorHead(self.model, name='discriminator_head')(hidden_BLD)
        original_BL1 = jax.nn.log_sigmoid(-logits_BL)[..., None]
        of_class: list[list[jax.Array]] = [[] for _ in range(self.shape.num_classes)]
        for number, label in enumerate(self.shape.words, 1):
            chosen_BL = (batch['documents'] == number) & (batch['inside'] > 0)
            of_class[label].append(mean_of(original_BL1, chosen_BL)[:, 0])
        means = [jnp.mean(jnp.stack(some, axis=1), axis=1) for some in of_class]
        return {'logits': jnp.stack(means, axis=1)}


def mean_of(hidden_BLD: jax.Array, chosen_BL: jax.Array) -> jax.Array:
    """[B, D]: the mean state of the chosen tokens, float32; zero where there are none."""
    weight_BL = chosen_BL / jnp.maximum(jnp.sum(chosen_BL, axis=1, keepdims=True), 1)
    return jnp.einsum('BL,BLD->BD', weight_BL, hidden_BLD.astype(jnp.float32))


def _mean(hidden_BLD: jax.Array, chosen_BL: jax.Array) -> jax.Array:
    return mean_of(hidden_BLD, chosen_BL).astype(hidden_BLD.dtype)


def _of_spans(logits_BLC: jax.Array, batch: Batch) -> Outputs:
    """'start' and 'end' of two columns, low where no answer may be."""
    logits_BLC += _forbidden(batch['allowed'])[..., None]
    return {'start': logits_BLC[..., 0], 'end': logits_BLC[..., 1]}


def _forbidden(allowed_BL: jax.Array) -> jax.Array:
    return MASKED * (1.0 - allowed_BL.astype(jnp.float32))


# (what the head scores: a row, each token, or spans of a row; style) -> head.
HEADS: dict[tuple[str, str], type[TaskHead]] = {
    ('row', 'reference'): SequenceHead,
    ('row', 'huggingface'): SequenceHead,
    ('row', 'mean'): MeanHead,
    ('row', 'prompt'): PromptHead,
    ('vectors', 'mean'): VectorHead,
    ('token', 'reference'): TokenHead,
    ('token', 'huggingface'): TokenHead,
    ('span', 'reference'): JointSpanHead,
    ('span', 'huggingface'): SpanHead,
    ('row', 'modernbert'): ModernHead,
    ('row', 'modernbert_cls'): ModernHead,
    ('token', 'modernbert'): ModernHead,
    ('span', 'modernbert'): ModernHead,
}
