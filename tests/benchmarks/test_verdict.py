from benchmarks import quality, verdict
from dec_jax.data.load import load_dataset


def row(doubt, poor):
    told = "several answers" if doubt > 0.25 else "confident"
    return {"doubt": doubt, "poor": poor, "verdict": told}


def test_found_and_alarms_are_counted_by_hand():
    # Of ten right answers one has a doubt above 0.1, the least of the poor ones.
    right = [row(0.1, False)] * 9 + [row(0.5, False)]
    poor = [row(0.05, True), row(0.2, True), row(0.6, True), row(0.7, True)]
    told = verdict.roc(right + poor).splitlines()
    assert told[0] == "14 answers, of which 4 are poor"
    assert told[2] == "10% false alarms (doubt above 0.14): 75% found"
    assert told[-1] == "the verdict itself: 50% found, 10% false alarms"


def test_a_ruined_run_differs_by_its_learning_rate_alone():
    digits = load_dataset("digits")
    ruined = verdict.settings_of(verdict.RUINED, digits, 10)
    assert verdict.settings_of("dec", digits, 10) == "dec"
    usual = verdict.choose_recipe("dec", digits, 10)
    assert ruined.pretrain == usual.pretrain
    rates = (ruined.train.optimizer.learning_rate, usual.train.optimizer.learning_rate)
    assert rates[0] == 100 * rates[1]


def test_noise_has_no_classes():
    for dataset in verdict.noise_sets():
        assert dataset.labels is None and len(dataset.x) in (500, 1000, 2000)


def test_the_summary_counts_sets_near_the_best_and_below_k_means():
    simple = {
        "k-means": 0.8,
        "Gaussian mixture (full variance)": 0.9,
        "Genie linkage (Gini 0.1)": 1.0,
    }
    rows = [
        {"recipe": "auto", "acc": acc, "simple": simple, "doubts": {}}
        for acc in (0.7, 0.89, 1.0)
    ]
    told = quality.summary(rows)
    assert "mean ACC 0.863 over 3 sets" in told
    assert "of the best of four on 67%, of all on 33%" in told
    assert told.endswith("more than 5 points below k-means on 1")
