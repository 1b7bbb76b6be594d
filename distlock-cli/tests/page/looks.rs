//! How the page looks on a phone and a desk, in light and in dark.

use crate::{browser::Browser, load::Load};

/// Fits the page into the window, with every button at hand?
const FITS: &str = "document.documentElement.scrollWidth <= innerWidth \
    && [...document.querySelectorAll('.lock button, #filter')].every((element) => { \
        const box = element.getBoundingClientRect(); \
        return box.left >= 0 && box.right <= innerWidth + 0.5 && box.height >= 24; })";

/// The lowest contrast of a text with what is behind it, as WCAG counts it.
const CONTRAST: &str = "(() => { \
    const light = (colour) => { \
        const [r, g, b] = colour.match(/[\\d.]+/g).map((n) => n / 255) \
            .map((n) => n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4); \
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; }; \
    const behind = (element) => { \
        for (; element; element = element.parentElement) { \
            const colour = getComputedStyle(element).backgroundColor; \
            if (!colour.endsWith(', 0)') && colour !== 'transparent') return colour; } \
        return 'rgb(255, 255, 255)'; }; \
    return Math.min(...[...document.querySelectorAll('.lock *, header *, #status')] \
        .filter((element) => element.innerText) \
        .map((element) => { \
            const [a, b] = [getComputedStyle(element).color, behind(element)].map(light).sort((a, b) => b - a); \
            return (a + 0.05) / (b + 0.05); })); })()";

#[tokio::test]
async fn the_page_fits_phones_and_desks_and_can_be_read_in_light_and_dark() {
    let mut load = Load::of_a_shop().await;
    load.hold(&"a-key-without-a-place-to-break-".repeat(4), "web-1:311").await;
    let browser = Browser::start().await;
    for (width, height, is_phone) in
        [(320, 640, true), (390, 844, true), (768, 1024, false), (1440, 900, false)]
    {
        for is_dark in [false, true] {
            browser.pretend(width, height, is_phone, is_dark).await;
            browser.open(&load.address).await;
            browser.wait_for("document.querySelectorAll('.lock').length === 5").await;
            browser.wait_for("document.querySelectorAll('.lock .break').length === 5").await;
            let case = format!("{width} x {height}, dark: {is_dark}");
            assert_eq!(browser.eval("innerWidth").await, width, "{case}");
            assert_eq!(browser.eval(FITS).await, true, "{case}");
            let contrast = browser.eval(CONTRAST).await.as_f64().expect("a number");
            assert!(contrast >= 4.5, "{case}: {contrast}");
            let paper = browser.eval("getComputedStyle(document.body).backgroundColor").await;
            assert_eq!(paper != "rgb(255, 255, 255)", is_dark, "{case}: {paper}");
        }
    }
    browser.close().await;
}
