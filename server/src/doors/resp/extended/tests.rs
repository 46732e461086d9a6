use super::*;

/// What is in a key, what is added, and what is there then.
fn added(number: &str, by: &str) -> Option<String> {
    let number = Extended::parse(number.as_bytes()).expect(number);
    let by = Extended::parse(by.as_bytes()).expect(by);
    number.sum(by).map(Extended::text)
}

/// Answers of redis-server on x86-64.
#[test]
fn sums_have_the_digits_that_redis_writes() {
    let table = [
        ("0", "0.1", "0.1"),
        ("0.1", "0.2", "0.3"),
        ("100000000000000001", "0.5", "100000000000000001.5"),
        ("5.0e3", "2.0e2", "5200"),
        ("17179869184.5", "0.3", "17179869184.80000000074505806"),
        ("0.1", "0.00000000000000001", "0.10000000000000001"),
        ("9223372036854775807", "1", "9223372036854775808"),
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551616", "1", "18446744073709551616"),
        ("123456789.123456789", "0.1", "123456789.22345678899728227"),
        ("0", "1.5e-17", "0.00000000000000002"),
        ("0", "5e-18", "0"),
        ("-1e-18", "0", "0"),
        ("-0", "-0", "0"),
        ("0x1p3", "0X1P-3", "8.125"),
        ("8.125", "0x.8", "8.625"),
        ("11.625", "-0x10", "-4.375"),
        ("-2.375", ".5", "-1.875"),
        ("-1.875", "+5.", "3.125"),
        ("1e4932", "-1e4932", "0"),
        ("1e-4950", "1", "1"),
        ("0e99999", "0e-99999", "0"),
    ];
    for (number, by, sum) in table {
        assert_eq!(added(number, by).as_deref(), Some(sum), "{number} + {by}");
    }
    let large = added("0", "1e2000").unwrap();
    assert_eq!(large.len(), 2000);
    assert!(large.starts_with("999999999999999999982582610954"));
    assert!(large.ends_with("16519805682941165568"));
}

/// A sum that is no number must not be stored: nobody could add to it again.
#[test]
fn infinity_is_never_a_sum() {
    let table = [
        ("inf", "1"),
        ("1", "-Infinity"),
        ("inf", "-inf"),
        ("1.1e4932", "0.1e4932"),
        ("1e4932", "1e4932"),
    ];
    for (number, by) in table {
        assert_eq!(added(number, by), None, "{number} + {by}");
    }
}

/// What redis-server refuses, from what it takes by the last digit.
#[test]
fn only_what_c_reads_whole_is_a_number() {
    let not = [
        "",
        ".",
        "-.",
        "-",
        "+",
        "-+2",
        "1e",
        "1e+",
        "1e1.5",
        " 1",
        "1 ",
        "\t1",
        "1\0",
        "\x001",
        "0x",
        "0xp1",
        "0x1p",
        "0x1p+",
        "nan",
        "NAN",
        "-nan",
        "nan(123)",
        "infi",
        "abc",
        "1_000",
        "1e4933",
        "-1e4933",
        "1.18973149535723176508e4932",
        "1e-4951",
        "1e-4952",
        "0x1p-16446",
        "0x1p16384",
        "1e999999999999999999999",
        "1e-999999999999999999999",
        "0x1p99999999999999999999",
        "0x1p-99999999999999999999",
    ];
    for text in not {
        assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
    }
    for text in [
        "1.18973149535723176502e4932",
        "3e-4951",
        "0x1p-16445",
        "0x1p16383",
        "0e999999999999999999999",
    ] {
        assert!(Extended::parse(text.as_bytes()).is_some(), "{text:?}");
    }
    assert!(Extended::parse("1".repeat(TEXT_MAX).as_bytes()).is_none(), "too large");
    assert!(Extended::parse(("0".repeat(TEXT_MAX - 1) + "1").as_bytes()).is_some());
    assert!(Extended::parse(("0".repeat(TEXT_MAX) + "1").as_bytes()).is_none());
}
