//! Reads a folder of weights: which tensors a BERT has, of which shapes, and what its `config.json` says.

use std::{fs, io, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::minilm::{
        encoder::{Encoder, Layer, Pooling},
        kernel::Level,
        lane::Norm,
        linear::Linear,
        wordpiece::WordPiece,
    },
};

/// The file of the weights.
const WEIGHTS: &str = "model.safetensors";
/// The file of the tokenizer.
const TOKENIZER: &str = "tokenizer.json";
/// The file of the architecture; may be missing.
const CONFIG: &str = "config.json";
/// The file of how states become a vector; may be missing.
const POOLING: &str = "1_Pooling/config.json";
/// The file of how long texts are; may be missing.
const LENGTH: &str = "sentence_bert_config.json";
/// How many tokens are read of a text where the folder does not say.
const TOKENS: usize = 256;
/// Larger files are refused unread; the largest BERT has 1.3 GB.
const MOST_BYTES: u64 = 4 << 30;

/// What a `config.json` says, as far as the weights do not.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Config {
    model_type: String,
    hidden_act: String,
    position_embedding_type: String,
    layer_norm_eps: f32,
    num_attention_heads: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model_type: "bert".to_owned(),
            hidden_act: "gelu".to_owned(),
            position_embedding_type: "absolute".to_owned(),
            layer_norm_eps: 1e-12,
            num_attention_heads: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct PoolingConfig {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
}

impl Default for PoolingConfig {
    fn default() -> Self {
        Self { pooling_mode_cls_token: false, pooling_mode_mean_tokens: true }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LengthConfig {
    max_seq_length: Option<usize>,
}

/// How products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Floats,
    Bytes,
}

/// What a folder has.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) encoder: Encoder,
    pub(super) tokenizer: WordPiece,
    /// How many tokens are read of a text.
    pub(super) tokens: usize,
    /// The content of every file that decides about a vector.
    pub(super) read: Vec<Vec<u8>>,
}

/// Reads a folder.
///
/// # Errors
/// `NotFound` when the folder or a file is missing, `Unavailable` when it cannot be read, and `InvalidInput` that names
/// file, tensor or field when the content is not that of a BERT with its tokenizer.
pub(super) fn load(folder: &Path, level: Level, packing: Packing) -> Result<Loaded> {
    if !folder.is_dir() {
        let message = "the folder of weights does not exist";
        return Err(
            Error::new(ErrorKind::NotFound, "embedder.open", message).with("folder", folder.display())
        );
    }
    let config: Config = settings(folder, CONFIG)?.unwrap_or_default();
    let pooling: PoolingConfig = settings(folder, POOLING)?.unwrap_or_default();
    let pooling = match (pooling.pooling_mode_mean_tokens, pooling.pooling_mode_cls_token) {
        (true, false) => Pooling::Mean,
        (false, true) => Pooling::First,
        _ => {
            let message = "unknown pooling; expected the mean of the tokens or the first one";
            return Err(invalid(&folder.join(POOLING), message));
        }
    };
    let length: LengthConfig = settings(folder, LENGTH)?.unwrap_or_default();
    let path = folder.join(TOKENIZER);
    let words = read(&path)?;
    let tokenizer = WordPiece::parse(&path, &words)?;
    let path = folder.join(WEIGHTS);
    let weights = read(&path)?;
    let encoder = Reader::new(&path, &weights)?.encoder(folder, &config, level, packing, pooling)?;
    // Some models have more rows than words, so that their number is round.
    let room = encoder.vocabulary().checked_sub(tokenizer.size());
    if room.is_none_or(|room| room >= 128) {
        return Err(invalid(
            &folder.join(TOKENIZER),
            "the tokenizer has another vocabulary than the weights",
        )
        .with("tokens", tokenizer.size())
        .with("expected", encoder.vocabulary()));
    }
    let tokens = length.max_seq_length.unwrap_or(TOKENS).min(encoder.longest()).max(2);
    Ok(Loaded { encoder, tokenizer, tokens, read: vec![weights, words] })
}

fn invalid(path: &Path, message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "embedder.open", message).with("file", path.display())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |err: io::Error| {
        let (kind, message) = match err.kind() {
            io::ErrorKind::NotFound => (ErrorKind::NotFound, "a file of the weights is missing"),
            _ => (ErrorKind::Unavailable, "cannot read a file of the weights"),
        };
        Error::new(kind, "embedder.open", message).with("file", path.display()).caused_by(err)
    };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MOST_BYTES {
        return Err(invalid(path, "the file is too large").with("bytes", size).with("most", MOST_BYTES));
    }
    fs::read(path).map_err(failed)
}

/// A file of settings that may be missing.
fn settings<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(&read(&path)?);
    parsed.map(Some).map_err(|err| invalid(&path, "the file has another form than expected").caused_by(err))
}

/// Finds tensors by name and checks their shapes.
struct Reader<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    /// What stands before every name: nothing, or `bert.`.
    prefix: String,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, content: &'a [u8]) -> Result<Self> {
        let tensors = SafeTensors::deserialize(content)
            .map_err(|err| invalid(path, "the file is cut short or not of safetensors").caused_by(err))?;
        let name = "embeddings.word_embeddings.weight";
        let names = tensors.names();
        let prefix = names.iter().find_map(|found| found.strip_suffix(name)).unwrap_or_default().to_owned();
        Ok(Self { path, tensors, prefix })
    }

    fn view(&self, name: &str) -> Result<TensorView<'a>> {
        let full = format!("{}{name}", self.prefix);
        self.tensors.tensor(&full).map_err(|err| {
            invalid(self.path, "a tensor of a BERT is missing; the weights are of another model")
                .with("tensor", &full)
                .caused_by(err)
        })
    }

    /// A matrix of any number of rows.
    fn table(&self, name: &str, width: Option<usize>) -> Result<(Vec<f32>, usize)> {
        let view = self.view(name)?;
        match (view.shape(), width) {
            ([rows, columns], None) if *rows > 0 && *columns > 0 => {
                Ok((self.numbers(name, &view)?, *columns))
            }
            ([rows, columns], Some(width)) if *rows > 0 && *columns == width => {
                Ok((self.numbers(name, &view)?, width))
            }
            (shape, width) => Err(self.misshapen(name, shape, &[None, width])),
        }
    }

    /// A tensor of one shape.
    fn exact(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let view = self.view(name)?;
        if view.shape() == shape {
            return self.numbers(name, &view);
        }
        let expected: Vec<_> = shape.iter().copied().map(Some).collect();
        Err(self.misshapen(name, view.shape(), &expected))
    }

    fn misshapen(&self, name: &str, shape: &[usize], expected: &[Option<usize>]) -> Error {
        let any = |size: &Option<usize>| size.map_or_else(|| "any".to_owned(), |size| size.to_string());
        invalid(self.path, "a tensor has another shape than expected")
            .with("tensor", format!("{}{name}", self.prefix))
            .with("shape", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × "))
            .with("expected", expected.iter().map(any).collect::<Vec<_>>().join(" × "))
    }

    fn numbers(&self, name: &str, view: &TensorView<'_>) -> Result<Vec<f32>> {
        let data = view.data();
        let numbers: Vec<f32> = match view.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Dtype::BF16 => {
                let wide = |bytes: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
                data.as_chunks().0.iter().map(wide).collect()
            }
            Dtype::F16 => data.as_chunks().0.iter().map(|bytes| half(u16::from_le_bytes(*bytes))).collect(),
            other => {
                let err = invalid(self.path, "a tensor has another type than 16 or 32 bit floats");
                return Err(err
                    .with("tensor", format!("{}{name}", self.prefix))
                    .with("type", format!("{other:?}")));
            }
        };
        if numbers.iter().all(|x| x.is_finite()) {
            return Ok(numbers);
        }
        Err(invalid(self.path, "a tensor has numbers that are not finite")
            .with("tensor", format!("{}{name}", self.prefix)))
    }

    fn encoder(
        &self,
        folder: &Path,
        config: &Config,
        level: Level,
        packing: Packing,
        pooling: Pooling,
    ) -> Result<Encoder> {
        let wanted = [
            ("model_type", &config.model_type, "bert"),
            ("hidden_act", &config.hidden_act, "gelu"),
            ("position_embedding_type", &config.position_embedding_type, "absolute"),
        ];
        for (field, got, expected) in wanted {
            if got != expected {
                return Err(invalid(&folder.join(CONFIG), "the model is of another kind")
                    .with("field", field)
                    .with("got", got)
                    .with("expected", expected));
            }
        }
        let (words, width) = self.table("embeddings.word_embeddings.weight", None)?;
        let (mut positions, _) = self.table("embeddings.position_embeddings.weight", Some(width))?;
        let (types, _) = self.table("embeddings.token_type_embeddings.weight", Some(width))?;
        for row in positions.chunks_exact_mut(width) {
            row.iter_mut().zip(&types).for_each(|(x, y)| *x += y);
        }
        // Heads leave no trace in the shapes; 32 and 64 numbers each are usual.
        let heads = config.num_attention_heads.unwrap_or(if width <= 512 { width / 32 } else { width / 64 });
        if heads == 0 || width % heads != 0 {
            return Err(invalid(&folder.join(CONFIG), "the width is not a multiple of the number of heads")
                .with("field", "num_attention_heads")
                .with("heads", heads)
                .with("width", width));
        }
        let norm = self.norm("embeddings.LayerNorm", width, config.layer_norm_eps)?;
        let names = self.tensors.names();
        let is_layer = |at: usize| {
            let start = format!("{}encoder.layer.{at}.", self.prefix);
            names.iter().any(|name| name.starts_with(&start))
        };
        let count = (0..names.len()).take_while(|at| is_layer(*at)).count();
        if count == 0 {
            return Err(invalid(self.path, "the weights have no layers; they are of another model")
                .with("tensor", format!("{}encoder.layer.0", self.prefix)));
        }
        let pack = |weight: &[f32], bias: &[f32]| match packing {
            Packing::Floats => Linear::floats(level, weight, bias),
            Packing::Bytes => Linear::bytes(level, weight, bias),
        };
        let layer =
            |at| self.layer(&format!("encoder.layer.{at}"), width, heads, config.layer_norm_eps, pack);
        let layers = (0..count).map(layer).collect::<Result<_>>()?;
        Ok(Encoder { level, width, heads, pooling, words, positions, norm, layers })
    }

    fn layer(
        &self,
        name: &str,
        width: usize,
        heads: usize,
        epsilon: f32,
        pack: impl Fn(&[f32], &[f32]) -> Linear,
    ) -> Result<Layer> {
        let scale = ((width / heads) as f32).sqrt().recip();
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for (part, scale) in [("query", scale), ("key", 1.0), ("value", 1.0)] {
            let part = format!("{name}.attention.self.{part}");
            let of = self.exact(&format!("{part}.weight"), &[width, width])?;
            weight.extend(of.iter().map(|x| x * scale));
            bias.extend(self.exact(&format!("{part}.bias"), &[width])?.iter().map(|x| x * scale));
        }
        let linear = |name: String, inputs: usize, outputs: usize| {
            let weight = self.exact(&format!("{name}.weight"), &[outputs, inputs])?;
            Ok::<_, Error>(pack(&weight, &self.exact(&format!("{name}.bias"), &[outputs])?))
        };
        let wide = self.view(&format!("{name}.intermediate.dense.bias"))?.shape().iter().product();
        Ok(Layer {
            attention: pack(&weight, &bias),
            attended: linear(format!("{name}.attention.output.dense"), width, width)?,
            attended_norm: self.norm(&format!("{name}.attention.output.LayerNorm"), width, epsilon)?,
            widen: linear(format!("{name}.intermediate.dense"), width, wide)?,
            narrow: linear(format!("{name}.output.dense"), wide, width)?,
            norm: self.norm(&format!("{name}.output.LayerNorm"), width, epsilon)?,
        })
    }

    fn norm(&self, name: &str, width: usize, epsilon: f32) -> Result<Norm> {
        let weight = self.exact(&format!("{name}.weight"), &[width])?;
        Ok(Norm { weight, bias: self.exact(&format!("{name}.bias"), &[width])?, epsilon })
    }
}

/// A float of 16 bits.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) =
        (u32::from(bits >> 15) << 31, u32::from(bits >> 10) & 0x1f, u32::from(bits) & 0x3ff);
    match exponent {
        // Too small for a leading one: the fraction counts steps of 2^−24.
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()),
        0x1f => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}
