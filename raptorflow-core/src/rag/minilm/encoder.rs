//! `Encoder`: texts as tokens to unit vectors, many texts of any length at once.

use crate::rag::minilm::{
    kernel::{Level, Rows, Target, add_and_norm, gelu, softmax},
    lane::Norm,
    linear::{BLOCK, Linear, Panels, Room},
};

/// What becomes the vector of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    /// The mean of its tokens.
    Mean,
    /// Its first token, which stands for all.
    First,
}

/// One layer.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// Query, key and value side by side; the query is scaled by the root of a head's width already.
    pub(super) attention: Linear,
    pub(super) attended: Linear,
    pub(super) attended_norm: Norm,
    pub(super) widen: Linear,
    pub(super) narrow: Linear,
    pub(super) norm: Norm,
}

/// A BERT with the weights in the order of use.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    pub(super) level: Level,
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) pooling: Pooling,
    pub(super) words: Vec<f32>,
    /// Of each position, with the type of a first sentence added.
    pub(super) positions: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
}

/// Room for the numbers between the layers.
#[derive(Debug, Default)]
struct Buffers {
    states: Vec<f32>,
    attention: Vec<f32>,
    context: Vec<f32>,
    added: Vec<f32>,
    wide: Vec<f32>,
    scores: Vec<f32>,
    keys: Panels,
    values: Panels,
    room: Room,
}

impl Encoder {
    /// How many tokens a text may have.
    pub(super) fn longest(&self) -> usize {
        self.positions.len() / self.width.max(1)
    }

    /// How many words it knows.
    pub(super) fn vocabulary(&self) -> usize {
        self.words.len() / self.width.max(1)
    }

    /// The vectors of texts, each of at least one token and of those that the encoder knows.
    pub(super) fn encode(&self, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
        let mut buffers = Buffers::default();
        self.look_up(texts, &mut buffers);
        for layer in &self.layers {
            layer.attention.run(
                self.level,
                &buffers.states,
                sized(&mut buffers.attention, buffers.states.len() * 3),
                &mut buffers.room,
            );
            self.attend(texts, &mut buffers);
            let added = sized(&mut buffers.added, buffers.states.len());
            layer.attended.run(self.level, &buffers.context, added, &mut buffers.room);
            add_and_norm(self.level, &mut buffers.states, added, &layer.attended_norm);
            for block in buffers.states.chunks_mut(BLOCK * self.width) {
                let count = block.len() / self.width.max(1);
                let wide = sized(&mut buffers.wide, count * layer.widen.outputs());
                layer.widen.run(self.level, block, wide, &mut buffers.room);
                gelu(self.level, wide);
                let added = sized(&mut buffers.added, block.len());
                layer.narrow.run(self.level, wide, added, &mut buffers.room);
                add_and_norm(self.level, block, added, &layer.norm);
            }
        }
        let mut states = buffers.states.chunks_exact(self.width.max(1));
        texts.iter().map(|text| self.pool(states.by_ref().take(text.len()))).collect()
    }

    /// Words and their places.
    fn look_up(&self, texts: &[Vec<u32>], buffers: &mut Buffers) {
        let row = |table: &[f32], at: usize, out: &mut Vec<f32>| {
            let known = table.get(at * self.width..(at + 1) * self.width).unwrap_or_default();
            out.extend_from_slice(known);
            out.extend(std::iter::repeat_n(0.0, self.width - known.len()));
        };
        for text in texts {
            for (place, token) in text.iter().enumerate() {
                row(&self.words, *token as usize, &mut buffers.states);
                row(&self.positions, place, &mut buffers.added);
            }
        }
        add_and_norm(self.level, &mut buffers.states, &buffers.added, &self.norm);
    }

    /// Lets the tokens of each text look at each other.
    fn attend(&self, texts: &[Vec<u32>], buffers: &mut Buffers) {
        let (width, stride, each) = (self.width, self.width * 3, self.width / self.heads.max(1));
        let context = sized(&mut buffers.context, buffers.states.len());
        let mut first = 0;
        for text in texts {
            let count = text.len();
            let rows = buffers.attention.get(first * stride..(first + count) * stride).unwrap_or_default();
            let context = context.get_mut(first * width..(first + count) * width).unwrap_or_default();
            let scores = sized(&mut buffers.scores, count * count);
            for head in (0..width).step_by(each.max(1)) {
                let from = |column: usize| rows.get(column..).unwrap_or_default();
                let (keys, values) = (from(width + head), from(2 * width + head));
                let number = |values: &[f32], at: usize| values.get(at).copied().unwrap_or_default();
                buffers.keys.pack(self.level, count, each, |token, at| number(keys, token * stride + at));
                buffers.values.pack(self.level, each, count, |at, token| number(values, token * stride + at));
                let queries = Rows { values: from(head), stride, count, len: each };
                let mut target = Target { values: scores, stride: count, columns: count };
                buffers.keys.multiply(self.level, &queries, &[], &mut target);
                softmax(self.level, scores, count);
                let weights = Rows { values: scores, stride: count, count, len: count };
                let values = context.get_mut(head..).unwrap_or_default();
                let mut target = Target { values, stride: width, columns: each };
                buffers.values.multiply(self.level, &weights, &[], &mut target);
            }
            first += count;
        }
    }

    /// One vector of length 1 of the states of a text.
    fn pool<'a>(&self, states: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
        let taken = match self.pooling {
            Pooling::Mean => usize::MAX,
            Pooling::First => 1,
        };
        // The sum has the direction of the mean; the states of other tokens are taken too, and left out.
        let mut vector = vec![0.0_f32; self.width];
        for (_, state) in states.enumerate().filter(|(at, _)| *at < taken) {
            vector.iter_mut().zip(state).for_each(|(sum, x)| *sum += x);
        }
        let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        let scale = length.max(f64::MIN_POSITIVE).recip();
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
        vector
    }
}

/// The first `len` numbers of a buffer that grows when it must.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}
