"""Slow oracles: the paper's formulas as loops in float64, one run at a time.

Nothing here knows how the library computes; torch only supplies numbers that carry
gradients. Shapes: x [n][P][d], y [n], theta [d, M], filters [M, J, d], noise [n, M].
"""

import math

import numpy as np
import torch

ACTIVATIONS = {
    "linear": lambda z: z,
    "cubic": lambda z: z**3,
    "relu": lambda z: z if z > 0 else 0 * z,
    "celu": lambda z: z if z > 0 else torch.exp(z) - 1,
    "gelu": lambda z: z * (1 + torch.erf(z / math.sqrt(2))) / 2,
    "tanh": lambda z: (torch.exp(z) - torch.exp(-z)) / (torch.exp(z) + torch.exp(-z)),
}


def expert(patches, filters, activation):
    """f(x) = sum over filters j and patches p of sigma(<w_j, x_p>)."""
    sigma = ACTIVATIONS[activation]
    total = 0.0
    for w in filters:
        for patch in patches:
            total = total + sigma((w * patch).sum())
    return total


def single_outputs(x, filters, activation):
    """F(x) = f(x) for each example; filters [J, d]."""
    return torch.stack([expert(patches, filters, activation) for patches in x])


def logits(patches, theta):
    """h_m(x) = sum over patches p of <theta_m, x_p>, a list over experts."""
    result = []
    for m in range(theta.shape[1]):
        h = 0.0
        for patch in patches:
            h = h + (theta[:, m] * patch).sum()
        result.append(h)
    return result


def gate(h):
    """pi_m = exp(h_m) / sum over q of exp(h_q), a list over experts."""
    weights = [torch.exp(value) for value in h]
    return [weight / sum(weights) for weight in weights]


def choice(h, noise=None):
    """The first m that maximises h_m, or h_m + r_m."""
    scores = [v.item() for v in h]
    if noise is not None:
        scores = [s + r.item() for s, r in zip(scores, noise, strict=True)]
    return scores.index(max(scores))


def moe_outputs(x, theta, filters, activation, noise=None):
    """F(x) = pi_m(x) f_m(x) with m the noisy choice; also the list of choices."""
    outputs, chosen = [], []
    for i, patches in enumerate(x):
        h = logits(patches, theta)
        m = choice(h, None if noise is None else noise[i])
        outputs.append(gate(h)[m] * expert(patches, filters[m], activation))
        chosen.append(m)
    return torch.stack(outputs), chosen


def loss(outputs, y):
    """(1/n) sum over i of log(1 + exp(-y_i F(x_i)))."""
    total = 0.0
    for output, label in zip(outputs, y, strict=True):
        total = total + torch.log(1 + torch.exp(-label * output))
    return total / len(y)


def frobenius(matrix):
    """Square root of the sum of squares."""
    return math.sqrt(sum(v.item() ** 2 for row in matrix for v in row))


def normalised_step(filters, gradient, eta):
    """W_m - eta G_m / ||G_m||_F for each expert; where G_m is 0, W_m stays."""
    moved = []
    for w, g in zip(filters, gradient, strict=True):
        norm = frobenius(g)
        moved.append(w - eta * g / norm if norm > 0 else w)
    return torch.stack(moved)


def algorithm_1_step(x, y, theta, filters, activation, noise, eta, eta_r):
    """One iteration of Algorithm 1: returns theta, filters and the loss before it."""
    theta = theta.detach().requires_grad_()
    filters = filters.detach().requires_grad_()
    outputs, _ = moe_outputs(x, theta, filters, activation, noise)
    value = loss(outputs, y)
    g_theta, g_filters = torch.autograd.grad(value, [theta, filters])
    return (
        theta.detach() - eta_r * g_theta,
        normalised_step(filters.detach(), g_filters, eta),
        value.item(),
    )


def router_gradient(x, y, theta, filters, activation, noise):
    """The gradient with respect to theta in closed form, without autograd.

    (1/n) sum_i l'_i y_i f_{m_i}(x_i) pi_{m_i} (1[q = m_i] - pi_q) sum_p x_ip
    """
    gradient = np.zeros(theta.shape)
    for i, patches in enumerate(x):
        h = logits(patches, theta)
        pi, m = [v.item() for v in gate(h)], choice(h, noise[i])
        f, label = expert(patches, filters[m], activation).item(), y[i].item()
        slope = -1 / (1 + math.exp(label * pi[m] * f))
        for q in range(theta.shape[1]):
            weight = slope * label * f * pi[m] * ((q == m) - pi[q]) / len(x)
            for patch in patches:
                gradient[:, q] += weight * patch.numpy()
    return gradient


def philox(counter, key):
    """Philox4x32-10 of Salmon et al. (2011): four words out, as Python integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def router_noise(seed, step, num_examples, num_experts, stream=4):
    """Routing noise [n, M] in float64, number by number; 4 is "router_noise"."""
    key = [int(k) for k in np.random.SeedSequence([seed, stream]).generate_state(2)]
    rows = [
        [philox((i // 4, m, step, 0), key)[i % 4] >> 8 for m in range(num_experts)]
        for i in range(num_examples)
    ]
    return torch.tensor(rows, dtype=torch.float64) / 2**24


def dispatch_counts(cluster, chosen, num_clusters, num_experts):
    """n_km: how many examples of cluster k went to expert m."""
    counts = [[0] * num_experts for _ in range(num_clusters)]
    for k, m in zip(cluster, chosen, strict=True):
        counts[int(k)][int(m)] += 1
    return counts


def dispatch_entropy(counts):
    """Equation (6.1): -sum_m (n_m/n) sum_k (n_km/n_m) ln(n_km/n_m), n_m > 0."""
    n = sum(sum(row) for row in counts)
    total = 0.0
    for m in range(len(counts[0])):
        n_m = sum(row[m] for row in counts)
        for row in counts:
            if row[m] > 0:
                total -= n_m / n * (row[m] / n_m) * math.log(row[m] / n_m)
    return total


def entropy(counts):
    """-sum_k p_k ln p_k of a list of counts."""
    shares = [count / sum(counts) for count in counts if count > 0]
    return -sum(share * math.log(share) for share in shares)


def accuracy(outputs, y):
    """The share of examples with y F(x) > 0; an output of 0 is an error."""
    right = [o.item() * t.item() > 0 for o, t in zip(outputs, y, strict=True)]
    return sum(right) / len(right)


def authors_margin(x, theta, filters, biases, activation, gate_kind, noise, heads):
    """Outputs of the authors' network, example by example; also scores and choices.

    Returns a list of lists of ``heads`` outputs. With two heads the first half of the
    filters speaks for label -1.
    """
    sigma, outputs, scores, chosen = ACTIVATIONS[activation], [], [], []
    for i, patches in enumerate(x):
        h = logits(patches, theta)
        s = h if noise is None else [a + r for a, r in zip(h, noise[i], strict=True)]
        m = [v.item() for v in s].index(max(v.item() for v in s))
        responses = []
        for j, w in enumerate(filters[m]):
            b = 0.0 if biases is None else biases[m][j]
            responses.append(sum(sigma((w * patch).sum() + b) for patch in patches))
        size = len(responses) // heads
        parts = [sum(responses[k * size : (k + 1) * size]) for k in range(heads)]
        value = {
            "softmax": lambda h=h, m=m: gate(h)[m],
            "noisy_softmax": lambda s=s, m=m: gate(s)[m],
            "noisy_logit": lambda s=s, m=m: s[m],
        }[gate_kind]()
        outputs.append([value * part for part in parts])
        scores.append(s)
        chosen.append(m)
    return outputs, scores, chosen


def authors_loss(outputs, y, kind):
    """Mean loss; two outputs go through torch's cross entropy, as in their code."""
    if kind == "logistic":
        return loss([o[0] for o in outputs], y)
    rows = torch.stack([torch.stack(o) for o in outputs])
    if kind == "double_softmax":
        rows = torch.softmax(rows, dim=1)
    return torch.nn.CrossEntropyLoss()(rows, (y > 0).long())


def authors_balance(scores, chosen):
    """Mean over m of (share of m) (mean score of m), times M squared."""
    num_experts, n = len(scores[0]), len(scores)
    total = 0.0
    for m in range(num_experts):
        share = sum(c == m for c in chosen) / n
        total = total + share * sum(s[m] for s in scores) / n
    return total / num_experts * num_experts**2


def authors_step(x, y, theta, filters, biases, activation, recipe, noise):
    """One step of a recipe in one run: the new theta, filters, biases and the loss."""
    leaves = [theta, filters] + ([] if biases is None else [biases])
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    theta, filters, biases = (*leaves, None)[:3]
    scaled = x * recipe.data_scale
    outputs, scores, chosen = authors_margin(
        scaled, theta, filters, biases, activation, recipe.gate, noise, recipe.heads
    )
    value = authors_loss(outputs, y, recipe.loss)
    value = value + recipe.load_balancing * authors_balance(scores, chosen)
    g_theta, g_filters, *rest = torch.autograd.grad(value, leaves)
    new_filters, new_biases = [], []
    for m in range(len(filters)):
        by_filters = frobenius(g_filters[m])
        by_biases = frobenius(rest[0][m][None]) if rest else 0.0
        one, other = {
            "frobenius": [math.hypot(by_filters, by_biases)] * 2,
            "sum": [by_filters + by_biases] * 2,
            "per_tensor": [by_filters, by_biases],
            "none": [1.0, 1.0],
        }[recipe.norm]
        eta = recipe.expert_lr
        moved = eta * g_filters[m] / one if one > 0 else 0
        new_filters.append(filters[m].detach() - moved)
        if rest:
            moved = eta * rest[0][m] / other if other > 0 else 0
            new_biases.append(biases[m].detach() - moved)
    theta = theta.detach() - recipe.router_lr * g_theta
    stacked = torch.stack(new_biases) if rest else None
    return theta, torch.stack(new_filters), stacked, value.item()
