"""The networks against torch's and transformers', on the same weights."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from experiments.benchmarking import torch_networks
from saliency_jax import models
from saliency_jax.models import text


class TorchTest(parameterized.TestCase):
  @parameterized.parameters(*torch_networks.NAMES)
  def test_same_logits_and_gradients(self, name):
    net = torch_networks.load(name).double()
    with jax.enable_x64(True):
      model = models.load(name, dtype=jnp.float64)
      x = np.random.default_rng(0).random(model.spec.input_shape)
      logits, pull = jax.vjp(lambda x: model.apply(model.params, x), x)
      y = torch.from_numpy(x).permute(2, 0, 1)[None].requires_grad_(True)
      want = net(y)
      want[0, 3].backward()
      (grad,) = pull(jnp.zeros(1000).at[3].set(1.0))
    want, got = want[0].detach().numpy(), np.asarray(logits)
    grad = np.asarray(grad)  # Outside of the context it is refused.
    scale = np.max(np.abs(want))
    np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-6)
    want = y.grad[0].permute(1, 2, 0).numpy()
    scale = np.max(np.abs(want))
    np.testing.assert_allclose(grad / scale, want / scale, rtol=0, atol=1e-6)

  def test_same_embeddings_of_sentences(self):
    model = models.load('minilm')
    path = models.weights_path('minilm').parent
    net = transformers.BertModel.from_pretrained(
      path, add_pooling_layer=False, local_files_only=True
    ).eval()
    ids = text.batch(
      [
        'The train is late again, which nobody had expected.',
        'Good.',
        'Une fa\u00e7ade, three caf\u00e9s & 42 unbelievable signs!',
      ]
    )
    got = jax.vmap(model.apply, (None, 0))(model.params, ids)
    read = torch.tensor(ids != text.PADDING)
    with torch.no_grad():
      h = net(torch.tensor(ids), attention_mask=read).last_hidden_state
    # As sentence-transformers has it: the mean of what is read, then its
    # direction.
    mean = (h * read[..., None]).sum(1) / read.sum(1, keepdim=True)
    want = torch.nn.functional.normalize(mean)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)

  def test_same_tokens(self):
    path = models.weights_path('minilm').parent
    theirs = transformers.BertTokenizer.from_pretrained(
      path, local_files_only=True
    )
    for line in (
      "It wasn't unbelievably bad.",
      'caf\u00e9 \u4f60\u597d \u2603 3.5%',
    ):
      self.assertEqual([*text.read(line).ids], theirs(line)['input_ids'])


if __name__ == '__main__':
  absltest.main()
